"""Find where two forms of one model part: tensor by tensor, in the order of the layers, with the likely cause."""
