"""From a face database or a user's photographs to the LMDBs that Caffe trains on."""

#: Height and width of an aligned face in pixels (Section IV-A).
FACE_SIZE = 66
