"""The outputs that come with Adamas, a module each."""
