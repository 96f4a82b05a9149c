"""Networks: denoisers, condition encoders, the contrastive pair."""
