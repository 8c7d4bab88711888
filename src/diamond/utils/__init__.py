"""What Diamond kept beside its daemon: configuration, loading of classes, logging, signals."""
