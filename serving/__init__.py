"""SavedModel export, the embedded server that speaks TensorFlow Serving, and its client."""
