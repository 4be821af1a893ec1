"""What runs in the engine's Python: BVLC Caffe's is 3.9, and has numpy, protobuf and caffe only."""
