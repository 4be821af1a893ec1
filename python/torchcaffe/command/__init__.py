"""The `caffe` command: `python -m torchcaffe.command train -solver FILE`."""
