"""An app for workers in processes of their own: they know models by migrations only."""
