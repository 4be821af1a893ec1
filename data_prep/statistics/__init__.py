"""What the faces of an aligned index say in numbers, beside those of another database."""
