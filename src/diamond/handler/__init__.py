"""Diamond's handlers, each in the module of its old name: to inherit from, and for configurations that name them."""
