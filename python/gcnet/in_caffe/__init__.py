"""What runs in the engine's Python: BVLC Caffe's is 3.9, with numpy 1.19, protobuf and caffe alone."""
