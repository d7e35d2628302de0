"""From raw logs to TFRecords: an Apache Beam job around one TensorFlow Transform graph."""
