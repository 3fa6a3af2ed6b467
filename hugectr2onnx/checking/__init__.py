"""`check`: what is wrong with a model, and what compiling it would take, without compiling it."""
