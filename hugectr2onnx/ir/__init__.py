"""The intermediate representation: a typed dataflow graph over networkx. It knows no layer, no file and no protobuf."""
