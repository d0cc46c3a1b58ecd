"""The parameters of params.yaml, their file, and the objects of the library that are made from them."""
