"""torchcaffe next to BVLC Caffe."""
