"""What the data layers read from, beside the layers themselves.

databases.py  records of an LMDB in key order, one open environment a process for all who read it
datum.py      a record (Datum) as an image array: raw bytes, floats or an encoded picture
transform.py  transform_param: mean, crop, mirror, scale, from image arrays into a float32 batch
prefetch.py   a thread that makes the next batches while the net computes

The layers are in layers/data.py (Data, ImageData, MemoryData, DummyData), layers/window_data.py and
layers/hdf5.py.
"""
