"""What circulates of Caffe's forks: layer types and fields that BVLC Caffe 1.0 does not have.

For messages only: who meets a file of a fork is told so, and not of a name that looks alike.
"""

from torchcaffe import forks

_CIRCULATING = (
    ("SSD (weiliu89/caffe)",
     "Normalize Permute PriorBox DetectionOutput DetectionEvaluate MultiBoxLoss AnnotatedData "
     "SmoothL1Loss VideoData",
     "norm_param permute_param prior_box_param detection_output_param detection_evaluate_param "
     "multibox_loss_param annotated_data_param resize_param noise_param distort_param "
     "expand_param emit_constraint plateau_winsize eval_type ap_version show_per_class_result "
     "video_data_param"),
    ("Fast R-CNN (rbgirshick/caffe-fast-rcnn)",
     "ROIPooling SmoothL1Loss",
     "roi_pooling_param smooth_l1_loss_param"),
    ("R-FCN (daijifeng001/caffe-rfcn)",
     "PSROIPooling BoxAnnotatorOHEM",
     "psroi_pooling_param box_annotator_ohem_param"),
    ("Deformable ConvNets", "DeformableConvolution", "deformable_convolution_param"),
    ("SegNet (alexgkendall/caffe-segnet)",
     "BN Upsample DenseImageData",
     "bn_param upsample_param dense_image_data_param"),
    ("DeconvNet (HyeonwooNoh/caffe)", "BN Unpooling", "bn_param unpooling_param"),
    ("PSPNet (hszhao/PSPNet)", "BN Interp", "bn_param interp_param"),
    ("DeepLab",
     "Interp ImageSegData SegAccuracy MatRead MatWrite DenseCRF",
     "interp_param seg_accuracy_param mat_read_param mat_write_param densecrf_param"),
    ("CRF as RNN (torrvision/crfasrnn)", "MultiStageMeanfield", "multi_stage_meanfield_param"),
    ("HED (s9xie/hed)", "ImageLabelmapData", ""),
    ("center loss (ydwen/caffe-face)", "CenterLoss", "center_loss_param"),
    ("SphereFace (wy1iu/sphereface)", "MarginInnerProduct", "margin_inner_product_param"),
    ("L-Softmax (wy1iu/LargeMargin_Softmax_Loss)",
     "LargeMarginInnerProduct", "largemargin_inner_product_param"),
    ("triplet loss", "TripletLoss", "triplet_loss_param"),
    ("focal loss", "FocalLoss", "focal_loss_param"),
    ("YOLO in Caffe", "Region RegionLoss Upsample Mish", "region_param region_loss_param "
     "upsample_param mish_param"),
    ("FlowNet (lmb-freiburg)",
     "Correlation FlowWarp Resample L1Loss DataAugmentation",
     "correlation_param flow_warp_param resample_param l1_loss_param augmentation_param"),
    ("C3D (facebook/C3D)",
     "Convolution3D Pooling3D NdConvolution NdPooling VideoData",
     "kernel_depth temporal_pad temporal_stride"),
    ("temporal segment networks (yjxiong/caffe)", "BN VideoData", "bn_param video_data_param"),
    ("OpenPose and CPM", "CPMData ImResize Nms", "cpm_transform_param imresize_param nms_param"),
    ("NVCaffe (NVIDIA/caffe)",
     "DetectNetTransformation", "detectnet_groundtruth_param detectnet_augmentation_param"),
    ("Ristretto (pmgysel/caffe)", "ConvolutionRistretto FcRistretto", "quantization_param"),
    ("MobileNet", "DepthwiseConvolution ConvolutionDepthwise ReLU6", "relu6_param"),
    ("ShuffleNet", "ShuffleChannel DepthwiseConvolution ConvolutionDepthwise",
     "shuffle_channel_param"),
    ("SENet (hujie-frank/SENet)", "Axpy", ""),
    ("spatial transformers", "SpatialTransformer", "st_param"),
    ("domain adaptation (ddtm/caffe)", "GradientScaler", "gradient_scaler_param"),
    ("those with pull request 3057 (shicai/DenseNet-Caffe)", "", "ceil_mode"),
    ("Facebook's", "", "torch_pooling"),
)  # fmt: skip
"""(fork or what it was made for, types of its layers, its fields)"""

_INSTEAD = {
    "ceil_mode": "for ceil_mode: false write round_mode: FLOOR, and nothing for true",
    "torch_pooling": "for torch_pooling: true write round_mode: FLOOR",
    "depthwiseconvolution": "a Convolution whose group is its num_output is the same",
    "convolutiondepthwise": "a Convolution whose group is its num_output is the same",
    "relu6": "a Clip with min: 0 and max: 6 is the same",
}
"""{field or type: what BVLC Caffe has in its place}"""


HERE = (
    "BN DepthwiseConvolution ConvolutionDepthwise ReLU6 CenterLoss MarginInnerProduct ROIPooling "
    "SmoothL1Loss Interp Upsample Unpooling Normalize Permute PriorBox DetectionOutput",
    "bn_param center_loss_param margin_inner_product_param roi_pooling_param "
    "smooth_l1_loss_param interp_param upsample_param unpooling_param norm_param permute_param "
    "prior_box_param detection_output_param ceil_mode",
)
"""Types and fields that torchcaffe.forks has."""

_SWITCH = "" if forks.ENABLED else "set TORCHCAFFE_FORKS=1, with which torchcaffe has it"


_OLD_HERE = ("unpooling", "bn")
"""Types that torchcaffe.forks has in `layers`, the older spelling, too."""


def about_type(name, old=False):
    """What to say of a layer type of a fork; None of others. old: in `layers { type: ... }`."""
    wanted = _plain(name)
    here = {_plain(kind): kind for kind in HERE[0].split()}.get(wanted)
    remedy = here and _SWITCH
    if here and old and wanted not in _OLD_HERE:
        remedy = f'write it as `layer {{ type: "{here}" }}`' + (
            "" if forks.ENABLED else " and set TORCHCAFFE_FORKS=1"
        )
    return _about(
        [fork for fork, types, _ in _CIRCULATING if wanted in map(_plain, types.split())],
        wanted,
        remedy,
    )


def about_field(name):
    """What to say of a field of a fork; None of others."""
    return _about(
        [fork for fork, _, fields in _CIRCULATING if name in fields.split()],
        name,
        name in HERE[1].split() and _SWITCH,
    )


def _about(who, name, remedy):
    if not who:
        return None
    instead = _INSTEAD.get(name, "run the net there, or write the layer as a Python layer")
    if remedy:
        instead = f"{remedy}; or {instead}"
    these = "a fork" if len(who) == 1 else "forks"
    return f"is not of BVLC Caffe 1.0 but of {these}: {', '.join(who)}; {instead}"


def _plain(name):
    return name.replace("_", "").lower()
