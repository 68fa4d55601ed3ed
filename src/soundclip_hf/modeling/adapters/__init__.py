"""Several sound adapters on one loaded model: reading them, choosing one for the model or for a call."""
