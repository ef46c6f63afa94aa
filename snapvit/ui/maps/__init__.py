"""What the CKA and Correlation pages are made of: maps between structures."""
