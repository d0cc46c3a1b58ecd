"""Networks that predict a covariance: layers, losses, training, and the gates that keep it healthy."""
