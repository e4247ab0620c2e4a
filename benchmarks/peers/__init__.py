"""The same saga on other engines, each written by hand as its own documentation has it."""
