"""Parts that several families of models use."""
