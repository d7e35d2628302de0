"""What the examples in docstrings find."""

from tests.serving.example_models import names_of_examples, server_of_examples  # noqa: F401
