"""What a cut costs in quality: embeddings of images, and k-NN accuracy on them."""
