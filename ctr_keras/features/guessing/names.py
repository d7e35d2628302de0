"""What the name of a column says of its values."""

import re
from collections.abc import Mapping

from ctr_keras.features.declarations import Group


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


LABELS = _words_of(
    """action attributed bought click clicked conversion converted installed label liked purchase
    purchased response target y"""
)
IDS = _words_of("asin code hash id ids key sku type uid zip zipcode")
NUMBERS = _words_of(
    """age amount amt balance bid bill budget cost count ctr days debt distance duration earnings
    expenditure expense expenses fare fee height income km length limit loan mileage miles minutes
    nights num number paid payment price profit quantity rank rate rating revenue salary sales score
    seconds size spend spent tax temperature time total views visits votes wage wages weight
    width"""
)
TIMES = _words_of("date datetime day dt epoch hour time timestamp ts")
SPLITS: Mapping[str, frozenset[str]] = {
    "train": _words_of("train training tr"),
    "validation": _words_of("valid validation val dev eval"),
    "test": _words_of("test testing holdout"),
}
_GROUPS: Mapping[Group, frozenset[str]] = {
    "user": _words_of(
        """age browser children cookie customer device education employee gender income ip marital
        member mgr occupation os reviewer role sex uid user useragent visitor zip"""
    ),
    "item": _words_of(
        """ad adid ads advertiser app asin brand campaign cate category coupon creative expiration
        genre genres item merchant movie price product resource shop sku slot tags title"""
    ),
    "context": _words_of(
        """channel city country day daytime destination direction domain hour isweekend page pos
        position publisher query referrer region site temperature time weather weekday"""
    ),
}


def words(name: str) -> frozenset[str]:
    """The words of a name, in lower case.

    Example:

    >>> sorted(words("lastVisit_time2"))
    ['last', 'time', 'visit']
    """
    return frozenset(word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name))


def splits_of(name: str) -> list[str]:
    """The splits that a name has words of.

    Example:

    >>> splits_of("Train/part-0.csv"), splits_of("training")
    (['train'], ['train'])
    """
    found = frozenset(re.findall("[a-z]+", name.lower()))
    return [split for split, of_split in SPLITS.items() if found & of_split]


def group(name: str) -> Group | None:
    """The group of features that a column belongs to, if its name says so.

    Example:

    >>> group("device_model"), group("C14")
    ('user', None)
    """
    return next((of for of, members in _GROUPS.items() if words(name) & members), None)
