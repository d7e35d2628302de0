"""Small SavedModels with answers that can be worked out by hand, and ways to ask for them."""

import json
import os
import shutil
import time
import urllib.error
import urllib.request

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

DTYPES = (
    tf.float32,
    tf.float64,
    tf.float16,
    tf.int8,
    tf.int16,
    tf.int32,
    tf.int64,
    tf.uint8,
    tf.uint32,
    tf.uint64,
    tf.bool,
    tf.string,
    tf.complex64,
)


def save_all(folder):
    """All toy models that answer requests, in a folder of models."""
    save_toy(str(folder / "toy" / "7"))
    save_times(str(folder / "odd name:%" / "3"), 3)
    save_with_defaults(str(folder / "defaults" / "1"))
    save_of_examples(str(folder / "examples" / "2"))
    save_tf1(str(folder / "tf1" / "00000123"))


def save_times(path, factor):
    """`serving_default`: x (floats) -> y = factor * x."""
    module = tf.Module()
    module.factor = tf.Variable(float(factor))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def times(x):
        return {"y": module.factor * x}

    tf.saved_model.save(module, path, {"serving_default": times})


def save_slow(path, seconds):
    """`serving_default`: x (floats) -> y = x, after so many seconds."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def slow(x):
        end = tf.timestamp() + seconds
        with tf.control_dependencies(
            tf.while_loop(lambda now: now < end, lambda _: tf.timestamp(), [end - seconds])
        ):
            return {"y": tf.identity(x)}

    module.slow = slow
    tf.saved_model.save(module, path, {"serving_default": slow})


def save_toy(path):
    """One SavedModel with a signature for every kind of input and output."""
    floats = tf.TensorSpec([None], tf.float32)
    signatures = {f"echo_{dtype.name}": _echo(dtype) for dtype in DTYPES}

    @tf.function(input_signature=[floats])
    def serving_default(x):
        return {"y": 0.5 * x + 2.0}

    @tf.function(input_signature=[floats, floats])
    def two(a, b):
        return {"sum": a + b, "difference": a - b}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def pairs(x):
        return {"y": tf.reduce_sum(x, axis=1)}

    @tf.function(input_signature=[floats])
    def total(x):
        return {"y": tf.reduce_sum(x)}

    @tf.function(input_signature=[floats])
    def uneven(x):
        return {"a": x, "b": tf.concat([x, x], 0)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def strings(s):
        return {"text": s, "raw_bytes": s}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string),
            floats,
            tf.TensorSpec([None], tf.int64),
        ]
    )
    def mixed(s, f, i):
        return {"s": s, "f": f, "i": i}

    @tf.function(input_signature=[floats])
    def imaginary(x):
        return {"y": tf.complex(x, x)}

    @tf.function(input_signature=[])
    def nothing():
        return {"y": tf.constant([1.0])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, f"f{i}") for i in range(6)])
    def wide(f0, f1, f2, f3, f4, f5):
        return {"y": f0 + 10 * f1 + 100 * f2 + 1000 * f3 + 10000 * f4 + 100000 * f5}

    functions = [serving_default, two, pairs, total, uneven, strings, imaginary]
    for function in [*functions, mixed, nothing, wide]:
        signatures[function.python_function.__name__] = function
    module = tf.Module()
    module.signature_functions = list(signatures.values())
    tf.saved_model.save(module, path, signatures)


def _echo(dtype):
    @tf.function(input_signature=[tf.TensorSpec(None, dtype)])
    def echo(x):
        return {"y": tf.identity(x)}

    return echo


def save_with_defaults(path):
    """`serving_default`: a, b (floats) -> y = a + 10 b; an absent b is 7."""
    spec = {name: tf.TensorSpec([None], tf.float32, name) for name in "ab"}
    module = tf.Module()

    @tf.function(input_signature=[spec["a"], spec["b"]])
    def add(a, b=tf.constant([7.0])):  # noqa: B008 (becomes the signature's default)
        return {"y": a + 10 * b}

    module.add = add
    tf.saved_model.save(module, path, {"serving_default": add})


def save_of_examples(path):
    """Signatures over serialized examples with features x (float, absent is -1) and name (text)."""
    features = {
        "x": tf.io.FixedLenFeature([], tf.float32, -1.0),
        "name": tf.io.FixedLenFeature([], tf.string, "nobody"),
    }
    examples = tf.TensorSpec([None], tf.string, "inputs")

    def parsed(inputs):
        read = tf.io.parse_example(inputs, features)
        return read["x"], read["name"]

    @tf.function(input_signature=[examples])
    def both(inputs):
        x, name = parsed(inputs)
        scores = tf.stack([x, 1 - x], 1)
        return {"classes": tf.stack([name, tf.fill(tf.shape(name), "no")], 1), "scores": scores}

    @tf.function(input_signature=[examples])
    def scores_alone(inputs):
        return {"scores": tf.stack([parsed(inputs)[0]] * 2, 1)}

    @tf.function(input_signature=[examples])
    def classes_alone(inputs):
        return {"classes": parsed(inputs)[1][:, None]}

    @tf.function(input_signature=[examples])
    def value(inputs):
        return {"outputs": 2 * parsed(inputs)[0]}

    @tf.function(input_signature=[examples])
    def column(inputs):
        return {"outputs": 2 * parsed(inputs)[0][:, None]}

    @tf.function(input_signature=[examples])
    def pairs(inputs):
        return {"outputs": tf.stack([parsed(inputs)[0]] * 2, 1)}

    @tf.function(input_signature=[examples])
    def total(inputs):
        return {"outputs": tf.reduce_sum(parsed(inputs)[0])[None]}

    @tf.function(input_signature=[examples])
    def doubles(inputs):
        return {"outputs": tf.cast(parsed(inputs)[0], tf.float64)}

    @tf.function(input_signature=[examples])
    def flat_scores(inputs):
        return {"scores": parsed(inputs)[0]}

    @tf.function(input_signature=[examples])
    def other_output(inputs):
        return {"y": parsed(inputs)[0]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def other_input(examples):
        x, _ = parsed(examples)
        return {"outputs": x, "scores": x[:, None]}

    functions = [both, scores_alone, classes_alone, value, column, pairs, total, doubles]
    module = tf.Module()
    module.kept = [*functions, flat_scores, other_output, other_input]
    signatures = {function.python_function.__name__: function for function in module.kept}
    tf.saved_model.save(module, path, {"serving_default": both, **signatures})


def save_tf1(path):
    """A TensorFlow 1 SavedModel with a table, whose input is not a placeholder: key -> id."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        key = tf.identity(v1.placeholder(tf.string, [None]), "inner")
        initializer = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64))
        table = tf.lookup.StaticHashTable(initializer, -1)
        counter = v1.get_variable("offset", initializer=tf.constant(100, tf.int64))
        ids = table.lookup(key) + counter
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(path)
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": v1.saved_model.predict_signature_def({"key": key}, {"id": ids})},
            main_op=v1.tables_initializer(),
        )
        builder.save()


def save_with_inputs(path, first, second):
    """A TensorFlow 1 SavedModel: inputs of these names -> y = first + 2 second."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = {name: v1.placeholder(tf.float32, [None]) for name in (first, second)}
        outputs = {"y": inputs[first] + 2 * inputs[second]}
        builder = v1.saved_model.Builder(path)
        definition = v1.saved_model.predict_signature_def(inputs, outputs)
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": definition})
        builder.save()


def save_sparse(path):
    """`serving_default`: x (floats) -> y, sparse."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def sparse(x):
        return {"y": tf.sparse.from_dense(x)}

    module.sparse = sparse
    tf.saved_model.save(module, path, {"serving_default": sparse})


def publish(model, version, save, *args):
    """Saves a version beside its place and moves it there when it is whole."""
    partial = os.path.join(model, f".{version}")
    save(partial, *args)
    os.rename(partial, os.path.join(model, str(version)))


def save_broken(path, *_):
    """A directory that looks like a SavedModel."""
    os.makedirs(path)
    with open(os.path.join(path, "saved_model.pb"), "wb") as file:
        file.write(b"\xff\xff not a proto")


def write_warmup(path, *requests):
    """Adds warm-up requests to a SavedModel."""
    logs = []
    for request in requests:
        log = prediction_log_pb2.PredictionLog()
        log.predict_log.request.CopyFrom(request)
        logs.append(log.SerializeToString())
    os.makedirs(os.path.join(path, "assets.extra"), exist_ok=True)
    with tf.io.TFRecordWriter(warmup_file(path)) as writer:
        for record in logs:
            writer.write(record)


def warmup_file(path):
    return os.path.join(path, "assets.extra", "tf_serving_warmup_requests")


def copy_version(source, target):
    """Copies a version, moved into place when it is whole."""
    partial = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}")
    shutil.copytree(source, partial)
    os.rename(partial, target)


def call(server, path, body=None, *, method=None, headers=None):
    """An HTTP request: (status, headers, body bytes)."""
    data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
    request = urllib.request.Request(
        f"http://{server.rest_address}{path}", data, headers or {}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def wait_for_state(server, model, version, state, seconds=30):
    """Polls the status page until a version is in a state; returns its status."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status, _, body = call(server, f"/v1/models/{model}")
        found = json.loads(body)["model_version_status"] if status == 200 else []
        for entry in found:
            if entry["version"] == str(version) and entry["state"] == state:
                return entry["status"]
        time.sleep(0.05)
    raise AssertionError(f"{model} {version} did not get {state}: {found}")
