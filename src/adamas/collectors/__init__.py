"""The collectors that come with Adamas, a module each."""
