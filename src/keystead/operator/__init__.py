"""Body: settings, composition root and the loop."""
