# Written by `python -m graphc.stubgen`. Do not edit.
# The operators of ONNX opset 23, and those introduced up to opset 26.
from collections.abc import Sequence
from typing import TypeAlias, overload

from numpy.typing import ArrayLike

from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.types import DType, Type

_Operand: TypeAlias = Tensor | ArrayLike
_DType: TypeAlias = DType | str | int | type

def Abs(X: _Operand) -> Tensor:
    """Abs-13: Absolute takes one input data (Tensor<T>) and produces one output data (Tensor<T>) where absolute value,
    y = abs(x), is applied to the tensor elementwise.
    """

def Acos(input: _Operand) -> Tensor:
    """Acos-22: Calculates the arccosine (inverse of cosine) of the given input tensor, element-wise."""

def Acosh(input: _Operand) -> Tensor:
    """Acosh-22: Calculates the hyperbolic arccosine of the given input tensor element-wise."""

def Add(A: _Operand, B: _Operand) -> Tensor:
    """Add-14: Performs element-wise binary addition (with Numpy-style broadcasting support)."""

def AffineGrid(theta: _Operand, size: _Operand, *, align_corners: int = 0) -> Tensor:
    """AffineGrid-20: Generates a 2D or 3D flow field (sampling grid), given a batch of affine matrices theta
    (https://pytorch.org/docs/stable/generated/torch.nn.functional.affine_grid.html). An affine matrix `theta` is
    applied to a position tensor represented in its homogeneous expression. Here is an example in 3D:
    """

def And(A: _Operand, B: _Operand) -> Tensor:
    """And-7: Returns the tensor resulted from performing the `and` logical operation elementwise on the input tensors
    `A` and `B` (with Numpy-style broadcasting support).
    """

def ArgMax(data: _Operand, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """ArgMax-13: Computes the indices of the max elements of the input tensor's element along the provided axis. The
    resulting tensor has the same rank as the input if keepdims equals 1. If keepdims equals 0, then the resulting
    tensor has the reduced dimension pruned. If select_last_index is True (default False), the index of the last
    occurrence of the max is selected if the max appears more than once in the input. Otherwise the index of the first
    occurrence is selected. The type of the output tensor is integer.
    """

def ArgMin(data: _Operand, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """ArgMin-13: Computes the indices of the min elements of the input tensor's element along the provided axis. The
    resulting tensor has the same rank as the input if keepdims equals 1. If keepdims equals 0, then the resulting
    tensor has the reduced dimension pruned. If select_last_index is True (default False), the index of the last
    occurrence of the min is selected if the min appears more than once in the input. Otherwise the index of the first
    occurrence is selected. The type of the output tensor is integer.
    """

def Asin(input: _Operand) -> Tensor:
    """Asin-22: Calculates the arcsine (inverse of sine) of the given input tensor, element-wise."""

def Asinh(input: _Operand) -> Tensor:
    """Asinh-22: Calculates the hyperbolic arcsine of the given input tensor element-wise."""

def Atan(input: _Operand) -> Tensor:
    """Atan-22: Calculates the arctangent (inverse of tangent) of the given input tensor, element-wise."""

def Atanh(input: _Operand) -> Tensor:
    """Atanh-22: Calculates the hyperbolic arctangent of the given input tensor element-wise."""

@overload
def Attention(
    Q: _Operand,
    K: _Operand,
    V: _Operand,
    attn_mask: _Operand | None = None,
    past_key: _Operand | None = None,
    past_value: _Operand | None = None,
    nonpad_kv_seqlen: _Operand | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: _DType | None = None,
    outputs: None = None,
) -> Tensor:
    """Attention-24: Computes scaled dot product attention on query, key and value tensors, using an optional attention
    mask if passed.
    """

@overload
def Attention(
    Q: _Operand,
    K: _Operand,
    V: _Operand,
    attn_mask: _Operand | None = None,
    past_key: _Operand | None = None,
    past_value: _Operand | None = None,
    nonpad_kv_seqlen: _Operand | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: _DType | None = None,
    outputs: int,
) -> tuple[Tensor, ...]:
    """Attention-24: Computes scaled dot product attention on query, key and value tensors, using an optional attention
    mask if passed.
    """

def AveragePool(
    X: _Operand,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """AveragePool-22: AveragePool consumes an input tensor X and applies average pooling across the tensor according to
    kernel sizes, stride sizes, and pad lengths. average pooling consisting of computing the average on all values of a
    subset of the input tensor according to the kernel size and downsampling the data into the output tensor Y for
    further processing. The output spatial shape is calculated differently depending on whether explicit padding is
    used, where pads is employed, or auto padding is used, where auto_pad is utilized. With explicit padding
    (https://pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html?highlight=maxpool#torch.nn.MaxPool2d):
    """

@overload
def BatchNormalization(
    X: _Operand,
    scale: _Operand,
    B: _Operand,
    input_mean: _Operand,
    input_var: _Operand,
    *,
    epsilon: float = 1e-05,
    momentum: float = 0.9,
    training_mode: int = 0,
    outputs: None = None,
) -> Tensor:
    """BatchNormalization-15: Carries out batch normalization as described in the paper
    https://arxiv.org/abs/1502.03167. Depending on the mode it is being run, There are five required inputs 'X',
    'scale', 'B', 'input_mean' and 'input_var'. Note that 'input_mean' and 'input_var' are expected to be the estimated
    statistics in inference mode (training_mode=False, default), and the running statistics in training mode
    (training_mode=True). There are multiple cases for the number of outputs, which we list below:
    """

@overload
def BatchNormalization(
    X: _Operand,
    scale: _Operand,
    B: _Operand,
    input_mean: _Operand,
    input_var: _Operand,
    *,
    epsilon: float = 1e-05,
    momentum: float = 0.9,
    training_mode: int = 0,
    outputs: int,
) -> tuple[Tensor, ...]:
    """BatchNormalization-15: Carries out batch normalization as described in the paper
    https://arxiv.org/abs/1502.03167. Depending on the mode it is being run, There are five required inputs 'X',
    'scale', 'B', 'input_mean' and 'input_var'. Note that 'input_mean' and 'input_var' are expected to be the estimated
    statistics in inference mode (training_mode=False, default), and the running statistics in training mode
    (training_mode=True). There are multiple cases for the number of outputs, which we list below:
    """

def Bernoulli(input: _Operand, *, dtype: _DType | None = None, seed: float | None = None) -> Tensor:
    """Bernoulli-22: Draws binary random numbers (0 or 1) from a Bernoulli distribution. The input tensor should be a
    tensor containing probabilities p (a value in the range [0,1]) to be used for drawing the binary random number,
    where an output of 1 is produced with probability p and an output of 0 is produced with probability (1-p).
    """

def BitCast(input: _Operand, *, to: _DType) -> Tensor:
    """BitCast-26: Reinterprets the binary representation of a tensor as a different data type, specified by the 'to'
    attribute. Unlike Cast, BitCast preserves the exact bit pattern without any value conversion.
    """

def BitShift(X: _Operand, Y: _Operand, *, direction: str) -> Tensor:
    """BitShift-11: Bitwise shift operator performs element-wise operation. For each input element, if the attribute
    "direction" is "RIGHT", this operator moves its binary representation toward the right side so that the input value
    is effectively decreased. If the attribute "direction" is "LEFT", bits of binary representation moves toward the
    left side, which results the increase of its actual value. The input X is the tensor to be shifted and another input
    Y specifies the amounts of shifting. For example, if "direction" is "Right", X is [1, 4], and S is [1, 1], the
    corresponding output Z would be [0, 2]. If "direction" is "LEFT" with X=[1, 2] and S=[1, 2], the corresponding
    output Y would be [2, 8].
    """

def BitwiseAnd(A: _Operand, B: _Operand) -> Tensor:
    """BitwiseAnd-18: Returns the tensor resulting from performing the bitwise `and` operation elementwise on the input
    tensors `A` and `B` (with Numpy-style broadcasting support).
    """

def BitwiseNot(X: _Operand) -> Tensor:
    """BitwiseNot-18: Returns the bitwise not of the input tensor element-wise."""

def BitwiseOr(A: _Operand, B: _Operand) -> Tensor:
    """BitwiseOr-18: Returns the tensor resulting from performing the bitwise `or` operation elementwise on the input
    tensors `A` and `B` (with Numpy-style broadcasting support).
    """

def BitwiseXor(A: _Operand, B: _Operand) -> Tensor:
    """BitwiseXor-18: Returns the tensor resulting from performing the bitwise `xor` operation elementwise on the input
    tensors `A` and `B` (with Numpy-style broadcasting support).
    """

def BlackmanWindow(size: _Operand, *, output_datatype: _DType = 1, periodic: int = 1) -> Tensor:
    """BlackmanWindow-17: Generates a Blackman window as described in the paper
    https://ieeexplore.ieee.org/document/1455106.
    """

def Cast(input: _Operand, *, to: _DType, round_mode: str = "up", saturate: int = 1) -> Tensor:
    """Cast-25: The operator casts the elements of a given input tensor to a data type specified by the 'to' argument
    and returns an output tensor of the same size in the converted type. The 'to' argument must be one of the data types
    specified in the 'DataType' enum field in the TensorProto message.
    """

def CastLike(input: _Operand, target_type: _Operand, *, round_mode: str = "up", saturate: int = 1) -> Tensor:
    """CastLike-25: The operator casts the elements of a given input tensor (the first input) to the same data type as
    the elements of the second input tensor. See documentation of the Cast operator for further details.
    """

def Ceil(X: _Operand) -> Tensor:
    """Ceil-13: Ceil takes one input data (Tensor<T>) and produces one output data (Tensor<T>) where the ceil is, y =
    ceil(x), is applied to the tensor elementwise. If x is integral, +0, -0, NaN, or infinite, x itself is returned.
    """

def Celu(X: _Operand, *, alpha: float = 1.0) -> Tensor:
    """Celu-12: Continuously Differentiable Exponential Linear Units: Perform the linear unit element-wise on the input
    tensor X using formula:
    """

def CenterCropPad(input_data: _Operand, shape: _Operand, *, axes: Sequence[int] | None = None) -> Tensor:
    """CenterCropPad-18: Center crop or pad an input to given dimensions."""

def Clip(input: _Operand, min: _Operand | None = None, max: _Operand | None = None) -> Tensor:
    """Clip-13: Clip operator limits the given input within an interval. The interval is specified by the inputs 'min'
    and 'max'. They default to numeric_limits::lowest() and numeric_limits::max(), respectively. When 'min' is greater
    than 'max', the clip operator sets all the 'input' values to the value of 'max'. Thus, this is equivalent to
    'Min(max, Max(input, min))'.
    """

def Col2Im(
    input: _Operand,
    image_shape: _Operand,
    block_shape: _Operand,
    *,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Col2Im-18: The operator rearranges column blocks back into a multidimensional image"""

def Compress(input: _Operand, condition: _Operand, *, axis: int | None = None) -> Tensor:
    """Compress-11: Selects slices from an input tensor along a given axis where condition evaluates to True for each
    axis index. In case axis is not provided, input is flattened before elements are selected. Compress behaves like
    numpy.compress: https://docs.scipy.org/doc/numpy/reference/generated/numpy.compress.html
    """

def Concat(*inputs: _Operand, axis: int) -> Tensor:
    """Concat-13: Concatenate a list of tensors into a single tensor. All input tensors must have the same shape, except
    for the dimension size of the axis to concatenate on.
    """

def ConcatFromSequence(input_sequence: _Operand, *, axis: int, new_axis: int = 0) -> Tensor:
    """ConcatFromSequence-11: Concatenate a sequence of tensors into a single tensor. All input tensors must have the
    same shape, except for the dimension size of the axis to concatenate on. By default 'new_axis' is 0, the behavior is
    similar to numpy.concatenate. When 'new_axis' is 1, the behavior is similar to numpy.stack.
    """

def Constant(
    *,
    value: ArrayLike | None = None,
    value_float: float | None = None,
    value_floats: Sequence[float] | None = None,
    value_int: int | None = None,
    value_ints: Sequence[int] | None = None,
    value_string: str | None = None,
    value_strings: Sequence[str] | None = None,
) -> Tensor:
    """Constant-25: This operator produces a constant tensor. Exactly one of the provided attributes, either value,
    sparse_value, or value_* must be specified.
    """

def ConstantOfShape(input: _Operand, *, value: ArrayLike | None = None) -> Tensor:
    """ConstantOfShape-25: Generate a tensor with given value and shape."""

def Conv(
    X: _Operand,
    W: _Operand,
    B: _Operand | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Conv-22: The convolution operator consumes an input tensor and a filter, and computes the output."""

def ConvInteger(
    x: _Operand,
    w: _Operand,
    x_zero_point: _Operand | None = None,
    w_zero_point: _Operand | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """ConvInteger-10: The integer convolution operator consumes an input tensor, its zero-point, a filter, and its
    zero-point, and computes the output. The production MUST never overflow. The accumulation may overflow if and only
    if in 32 bits.
    """

def ConvTranspose(
    X: _Operand,
    W: _Operand,
    B: _Operand | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """ConvTranspose-22: The convolution transpose operator consumes an input tensor and a filter, and computes the
    output.
    """

def Cos(input: _Operand) -> Tensor:
    """Cos-22: Calculates the cosine of the given input tensor, element-wise."""

def Cosh(input: _Operand) -> Tensor:
    """Cosh-22: Calculates the hyperbolic cosine of the given input tensor element-wise."""

def CumProd(x: _Operand, axis: _Operand, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """CumProd-26: Performs cumulative product of the input elements along the given axis. By default, it will do the
    product inclusively meaning the first element is copied as is. Through an `exclusive` attribute, this behavior can
    change to exclude the first element. It can also perform product in the opposite direction of the axis. For that,
    set `reverse` attribute to 1.
    """

def CumSum(x: _Operand, axis: _Operand, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """CumSum-14: Performs cumulative sum of the input elements along the given axis. By default, it will do the sum
    inclusively meaning the first element is copied as is. Through an `exclusive` attribute, this behavior can change to
    exclude the first element. It can also perform summation in the opposite direction of the axis. For that, set
    `reverse` attribute to 1.
    """

def DFT(
    input: _Operand,
    dft_length: _Operand | None = None,
    axis: _Operand | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Tensor:
    """DFT-20: Computes the discrete Fourier Transform (DFT) of the input."""

def DeformConv(
    X: _Operand,
    W: _Operand,
    offset: _Operand,
    B: _Operand | None = None,
    mask: _Operand | None = None,
    *,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    offset_group: int = 1,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """DeformConv-22: Performs deformable convolution as described in https://arxiv.org/abs/1703.06211 and
    https://arxiv.org/abs/1811.11168. This operator specification supports the general N-D case. Note that most common
    use cases have 2D or 3D data.
    """

def DepthToSpace(input: _Operand, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """DepthToSpace-13: DepthToSpace rearranges (permutes) data from depth into blocks of spatial data. This is the
    reverse transformation of SpaceToDepth. More specifically, this op outputs a copy of the input tensor where values
    from the depth dimension are moved in spatial blocks to the height and width dimensions. By default, `mode` = `DCR`.
    In the DCR mode, elements along the depth dimension from the input tensor are rearranged in the following order:
    depth, column, and then row. The output y is computed from the input x as below:
    """

def DequantizeLinear(
    x: _Operand,
    x_scale: _Operand,
    x_zero_point: _Operand | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: _DType = 0,
) -> Tensor:
    """DequantizeLinear-25: The linear dequantization operator. It consumes a quantized tensor, a scale, and a zero
    point to compute the full-precision tensor. The dequantization formula is `y = (x - x_zero_point) * x_scale`.
    `x_scale` and `x_zero_point` must have the same shape, determining the quantization's granularity: a scalar for per-
    tensor/per-layer quantization, a 1-D tensor for per-axis quantization, or have a rank identical to the input for
    blocked quantization. See QuantizeLinear for details on quantization granularity.
    """

def Det(X: _Operand) -> Tensor:
    """Det-22: Det calculates determinant of a square matrix or batches of square matrices. Det takes one input tensor
    of shape `[*, M, M]`, where `*` is zero or more batch dimensions, and the inner-most 2 dimensions form square
    matrices. The output is a tensor of shape `[*]`, containing the determinants of all input submatrices. e.g., When
    the input is 2-D, the output is a scalar(shape is empty: `[]`).
    """

def Div(A: _Operand, B: _Operand) -> Tensor:
    """Div-14: Performs element-wise binary division (with Numpy-style broadcasting support)."""

@overload
def Dropout(
    data: _Operand,
    ratio: _Operand | None = None,
    training_mode: _Operand | None = None,
    *,
    seed: int | None = None,
    outputs: None = None,
) -> Tensor:
    """Dropout-22: Dropout takes an input floating-point tensor, an optional input ratio (floating-point scalar) and an
    optional input training_mode (boolean scalar). It produces two tensor outputs, output (floating-point tensor) and
    mask (optional `Tensor `). If `training_mode` is true then the output Y will be a random dropout; Note that this
    Dropout scales the masked input data by the following equation, so to convert the trained model into inference mode,
    the user can simply not pass `training_mode` input or set it to false.
    """

@overload
def Dropout(
    data: _Operand,
    ratio: _Operand | None = None,
    training_mode: _Operand | None = None,
    *,
    seed: int | None = None,
    outputs: int,
) -> tuple[Tensor, ...]:
    """Dropout-22: Dropout takes an input floating-point tensor, an optional input ratio (floating-point scalar) and an
    optional input training_mode (boolean scalar). It produces two tensor outputs, output (floating-point tensor) and
    mask (optional `Tensor `). If `training_mode` is true then the output Y will be a random dropout; Note that this
    Dropout scales the masked input data by the following equation, so to convert the trained model into inference mode,
    the user can simply not pass `training_mode` input or set it to false.
    """

def DynamicQuantizeLinear(x: _Operand) -> tuple[Tensor, Tensor, Tensor]:
    """DynamicQuantizeLinear-11: A Function to fuse calculation for Scale, Zero Point and FP32->8Bit conversion of FP32
    Input data. Outputs Scale, ZeroPoint and Quantized Input for a given FP32 Input. Scale is calculated as:
    """

def Einsum(*Inputs: _Operand, equation: str) -> Tensor:
    """Einsum-12: An einsum of the form `term1, term2 -> output-term` produces an output tensor using the following
    equation
    """

def Elu(X: _Operand, *, alpha: float = 1.0) -> Tensor:
    """Elu-22: Elu takes one input data (Tensor<T>) and produces one output data (Tensor<T>) where the function `f(x) =
    alpha * (exp(x) - 1.) for x < 0`, `f(x) = x for x >= 0`., is applied to the tensor elementwise.
    """

def Equal(A: _Operand, B: _Operand) -> Tensor:
    """Equal-19: Returns the tensor resulted from performing the `equal` logical operation elementwise on the input
    tensors `A` and `B` (with Numpy-style broadcasting support).
    """

def Erf(input: _Operand) -> Tensor:
    """Erf-13: Computes the error function of the given input tensor element-wise."""

def Exp(input: _Operand) -> Tensor:
    """Exp-13: Calculates the exponential of the given input tensor, element-wise."""

def Expand(input: _Operand, shape: _Operand) -> Tensor:
    """Expand-13: Broadcast the input tensor following the given shape and the broadcast rule. The broadcast rule is
    similar to numpy.array(input) * numpy.ones(shape): Dimensions are right alignment; Two corresponding dimensions must
    have the same value, or one of them is equal to 1. Also, this operator is similar to numpy.broadcast_to(input,
    shape), but the major difference is numpy.broadcast_to() does not allow shape to be smaller than input.size(). It is
    possible that the output.shape is not equal to shape, when some dimensions in shape is equal to 1, or the shape.ndim
    < input.shape.ndim.
    """

def EyeLike(input: _Operand, *, dtype: _DType | None = None, k: int = 0) -> Tensor:
    """EyeLike-22: Generate a 2D tensor (matrix) with ones on the diagonal and zeros everywhere else. Only 2D tensors
    are supported, i.e. input T1 must be of rank 2. The shape of the output tensor is the same as the input tensor. The
    data type can be specified by the 'dtype' argument. If 'dtype' is not specified, then the type of input tensor is
    used. By default, the main diagonal is populated with ones, but attribute 'k' can be used to populate upper or lower
    diagonals. The 'dtype' argument must be one of the data types specified in the 'DataType' enum field in the
    TensorProto message and be valid as an output type.
    """

def Flatten(input: _Operand, *, axis: int = 1) -> Tensor:
    """Flatten-25: Flattens the input tensor into a 2D matrix. If input tensor has shape (d_0, d_1, ... d_n) then the
    output will have shape (d_0 X d_1 ... d_(axis-1), d_axis X d_(axis+1) ... X dn).
    """

def Floor(X: _Operand) -> Tensor:
    """Floor-13: Floor takes one input data (Tensor<T>) and produces one output data (Tensor<T>) where the floor is, y =
    floor(x), is applied to the tensor elementwise. If x is integral, +0, -0, NaN, or infinite, x itself is returned.
    """

def GRU(
    X: _Operand,
    W: _Operand,
    R: _Operand,
    B: _Operand | None = None,
    sequence_lens: _Operand | None = None,
    initial_h: _Operand | None = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Tensor, Tensor]:
    """GRU-22: Computes an one-layer GRU. This operator is usually supported via some custom implementation such as
    CuDNN.
    """

def Gather(data: _Operand, indices: _Operand, *, axis: int = 0) -> Tensor:
    """Gather-13: Given `data` tensor of rank r >= 1, and `indices` tensor of rank q, gather entries of the axis
    dimension of `data` (by default outer-most one as axis=0) indexed by `indices`, and concatenates them in an output
    tensor of rank q + (r - 1).
    """

def GatherElements(data: _Operand, indices: _Operand, *, axis: int = 0) -> Tensor:
    """GatherElements-13: GatherElements takes two inputs `data` and `indices` of the same rank r >= 1 and an optional
    attribute `axis` that identifies an axis of `data` (by default, the outer-most axis, that is axis 0). It is an
    indexing operation that produces its output by indexing into the input data tensor at index positions determined by
    elements of the `indices` tensor. Its output shape is the same as the shape of `indices` and consists of one value
    (gathered from the `data`) for each element in `indices`.
    """

def GatherND(data: _Operand, indices: _Operand, *, batch_dims: int = 0) -> Tensor:
    """GatherND-13: Given `data` tensor of rank `r` >= 1, `indices` tensor of rank `q` >= 1, and `batch_dims` integer
    `b`, this operator gathers slices of `data` into an output tensor of rank `q + r - indices_shape[-1] - 1 - b`.
    """

def Gelu(X: _Operand, *, approximate: str = "none") -> Tensor:
    r"""Gelu-20: Gelu takes one input data (Tensor<T>) and produces one output data (Tensor<T>) where the gaussian error
    linear units function, $y = 0.5 * x * (1 + erf(x/sqrt(2)))$ is applied to the tensor elementwise. If the attribute
    "approximate" is set to "tanh", the function estimation, $y = 0.5 * x * (1 + Tanh(sqrt(2/\pi) * (x + 0.044715 *
    x^3)))$ is used and applied to the tensor elementwise.
    """

def Gemm(
    A: _Operand,
    B: _Operand,
    C: _Operand | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    """Gemm-13: General Matrix multiplication: https://en.wikipedia.org/wiki/Basic_Linear_Algebra_Subprograms#Level_3"""

def GlobalAveragePool(X: _Operand) -> Tensor:
    """GlobalAveragePool-22: GlobalAveragePool consumes an input tensor X and applies average pooling across the values
    in the same channel. This is equivalent to AveragePool with kernel size equal to the spatial dimension of input
    tensor.
    """

def GlobalLpPool(X: _Operand, *, p: int = 2) -> Tensor:
    """GlobalLpPool-22: GlobalLpPool consumes an input tensor X and applies lp pool pooling across the values in the
    same channel. This is equivalent to LpPool with kernel size equal to the spatial dimension of input tensor.
    """

def GlobalMaxPool(X: _Operand) -> Tensor:
    """GlobalMaxPool-22: GlobalMaxPool consumes an input tensor X and applies max pooling across the values in the same
    channel. This is equivalent to MaxPool with kernel size equal to the spatial dimension of input tensor.
    """

def Greater(A: _Operand, B: _Operand) -> Tensor:
    """Greater-13: Returns the tensor resulted from performing the `greater` logical operation elementwise on the input
    tensors `A` and `B` (with Numpy-style broadcasting support).
    """

def GreaterOrEqual(A: _Operand, B: _Operand) -> Tensor:
    """GreaterOrEqual-16: Returns the tensor resulted from performing the `greater_equal` logical operation elementwise
    on the input tensors `A` and `B` (with Numpy-style broadcasting support).
    """

def GridSample(
    X: _Operand,
    grid: _Operand,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> Tensor:
    """GridSample-22: Given an input `X` and a flow-field `grid`, computes the output `Y` using `X` values and pixel
    locations from the `grid`. For spatial input `X` with shape (N, C, H, W), the `grid` will have shape (N, H_out,
    W_out, 2), the output `Y` will have shape (N, C, H_out, W_out). For volumetric input `X` with shape (N, C, D, H, W),
    the `grid` will have shape (N, D_out, H_out, W_out, 3), the output `Y` will have shape (N, C, D_out, H_out, W_out).
    More generally, for an input `X` of rank r+2 with shape (N, C, d1, d2, ..., dr), the `grid` will have shape (N,
    D1_out, D2_out, ..., Dr_out, r), the output `Y` will have shape (N, C, D1_out, D2_out, ..., Dr_out).
    """

def GroupNormalization(
    X: _Operand,
    scale: _Operand,
    bias: _Operand,
    *,
    num_groups: int,
    epsilon: float = 1e-05,
    stash_type: _DType = 1,
) -> Tensor:
    """GroupNormalization-21: A GroupNormalization function. Carries out group normalization as described in the paper
    https://arxiv.org/abs/1803.08494
    """

def HammingWindow(size: _Operand, *, output_datatype: _DType = 1, periodic: int = 1) -> Tensor:
    """HammingWindow-17: Generates a Hamming window as described in the paper
    https://ieeexplore.ieee.org/document/1455106.
    """

def HannWindow(size: _Operand, *, output_datatype: _DType = 1, periodic: int = 1) -> Tensor:
    """HannWindow-17: Generates a Hann window as described in the paper https://ieeexplore.ieee.org/document/1455106."""

def HardSigmoid(X: _Operand, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """HardSigmoid-22: HardSigmoid takes one input data (Tensor<T>) and produces one output data (Tensor<T>) where the
    HardSigmoid function, y = max(0, min(1, alpha * x + beta)), is applied to the tensor elementwise.
    """

def HardSwish(X: _Operand) -> Tensor:
    """HardSwish-22: HardSwish takes one input data (Tensor<T>) and produces one output data (Tensor<T>) where the
    HardSwish function, y = x * max(0, min(1, alpha * x + beta)) = x * HardSigmoid (x), where alpha = 1/6 and beta =
    0.5, is applied to the tensor elementwise.
    """

def Hardmax(input: _Operand, *, axis: int = -1) -> Tensor:
    """Hardmax-13: The operator computes the hardmax values for the given input:"""

def Identity(input: _Operand) -> Tensor:
    """Identity-25: Identity operator"""

def If(
    cond: _Operand,
    *captured: _Operand,
    else_branch: Graph,
    then_branch: Graph,
    outputs: int | None = None,
) -> tuple[Tensor, ...]:
    """If-25: If conditional"""

def ImageDecoder(encoded_stream: _Operand, *, pixel_format: str = "RGB") -> Tensor:
    """ImageDecoder-20: Loads and decodes and image from a file. If it can't decode for any reason (e.g. corrupted
    encoded stream, invalid format, it will return an empty matrix). The following image formats are supported: * BMP *
    JPEG (note: Lossless JPEG support is optional) * JPEG2000 * TIFF * PNG * WebP * Portable image format (PBM, PGM,
    PPM, PXM, PNM) Decoded images follow a channel-last layout: (Height, Width, Channels). **JPEG chroma upsampling
    method:** When upsampling the chroma components by a factor of 2, the pixels are linearly interpolated so that the
    centers of the output pixels are 1/4 and 3/4 of the way between input pixel centers. When rounding, 0.5 is rounded
    down and up at alternative pixels locations to prevent bias towards larger values (ordered dither pattern).
    Considering adjacent input pixels A, B, and C, B is upsampled to pixels B0 and B1 so that
    """

def InstanceNormalization(input: _Operand, scale: _Operand, B: _Operand, *, epsilon: float = 1e-05) -> Tensor:
    """InstanceNormalization-22: Carries out instance normalization as described in the paper
    https://arxiv.org/abs/1607.08022.
    """

def IsInf(X: _Operand, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """IsInf-20: Map infinity to true and other values to false."""

def IsNaN(X: _Operand) -> Tensor:
    """IsNaN-20: Returns which elements of the input are NaN."""

def LRN(X: _Operand, *, size: int, alpha: float = 1e-04, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    """LRN-13: Local Response Normalization proposed in the [AlexNet paper](https://papers.nips.cc/paper/4824-imagenet-
    classification-with-deep-convolutional-neural-networks.pdf). It normalizes over local input regions. The local
    region is defined across the channels. For an element `X[n, c, d1, ..., dk]` in a tensor of shape `(N x C x D1 x D2,
    ..., Dk)`, its region is `{X[n, i, d1, ..., dk] | max(0, c - floor((size - 1) / 2)) <= i <= min(C - 1, c +
    ceil((size - 1) / 2))}`.
    """

def LSTM(
    X: _Operand,
    W: _Operand,
    R: _Operand,
    B: _Operand | None = None,
    sequence_lens: _Operand | None = None,
    initial_h: _Operand | None = None,
    initial_c: _Operand | None = None,
    P: _Operand | None = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """LSTM-22: Computes an one-layer LSTM. This operator is usually supported via some custom implementation such as
    CuDNN.
    """

@overload
def LayerNormalization(
    X: _Operand,
    Scale: _Operand,
    B: _Operand | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-05,
    stash_type: _DType = 1,
    outputs: None = None,
) -> Tensor:
    """LayerNormalization-17: This is layer normalization defined in ONNX as function. The overall computation can be
    split into two stages. The first stage is standardization, which makes the normalized elements have zero mean and
    unit variances. The computation required by standardization can be described by the following equations.
    """

@overload
def LayerNormalization(
    X: _Operand,
    Scale: _Operand,
    B: _Operand | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-05,
    stash_type: _DType = 1,
    outputs: int,
) -> tuple[Tensor, ...]:
    """LayerNormalization-17: This is layer normalization defined in ONNX as function. The overall computation can be
    split into two stages. The first stage is standardization, which makes the normalized elements have zero mean and
    unit variances. The computation required by standardization can be described by the following equations.
    """

def LeakyRelu(X: _Operand, *, alpha: float = 0.01) -> Tensor:
    """LeakyRelu-16: LeakyRelu takes input data (Tensor<T>) and an argument alpha, and produces one output data
    (Tensor<T>) where the function `f(x) = alpha * x for x < 0`, `f(x) = x for x >= 0`, is applied to the data tensor
    elementwise.
    """

def Less(A: _Operand, B: _Operand) -> Tensor:
    """Less-13: Returns the tensor resulted from performing the `less` logical operation elementwise on the input
    tensors `A` and `B` (with Numpy-style broadcasting support).
    """

def LessOrEqual(A: _Operand, B: _Operand) -> Tensor:
    """LessOrEqual-16: Returns the tensor resulted from performing the `less_equal` logical operation elementwise on the
    input tensors `A` and `B` (with Numpy-style broadcasting support).
    """

def Log(input: _Operand) -> Tensor:
    """Log-13: Calculates the natural log of the given input tensor, element-wise."""

def LogSoftmax(input: _Operand, *, axis: int = -1) -> Tensor:
    """LogSoftmax-13: The operator computes the log of softmax values for the given input:"""

def Loop(
    M: _Operand | None = None,
    cond: _Operand | None = None,
    *v_initial: _Operand,
    body: Graph,
    captures: int = 0,
    outputs: int | None = None,
) -> tuple[Tensor, ...]:
    """Loop-25: Generic Looping construct. This loop has multiple termination conditions:"""

def LpNormalization(input: _Operand, *, axis: int = -1, p: int = 2) -> Tensor:
    """LpNormalization-22: Given a matrix, apply Lp-normalization along the provided axis. The output is computed as:
    `output = input / Lp_norm(input, axis)`. When the Lp norm is zero (i.e., all elements along the axis are zero), the
    output is defined to be zero to avoid division by zero.
    """

def LpPool(
    X: _Operand,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    p: int = 2,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """LpPool-22: LpPool consumes an input tensor X and applies Lp pooling across the tensor according to kernel sizes,
    stride sizes, and pad lengths. Lp pooling consisting of computing the Lp norm on all values of a subset of the input
    tensor according to the kernel size and downsampling the data into the output tensor Y for further processing. The
    output spatial shape will be following:
    """

def MatMul(A: _Operand, B: _Operand) -> Tensor:
    """MatMul-13: Matrix product that behaves like
    [numpy.matmul](https://numpy.org/doc/stable/reference/generated/numpy.matmul.html).
    """

def MatMulInteger(
    A: _Operand,
    B: _Operand,
    a_zero_point: _Operand | None = None,
    b_zero_point: _Operand | None = None,
) -> Tensor:
    """MatMulInteger-10: Matrix product that behaves like
    [numpy.matmul](https://numpy.org/doc/stable/reference/generated/numpy.matmul.html). The production MUST never
    overflow. The accumulation may overflow if and only if in 32 bits.
    """

def Max(*data_0: _Operand) -> Tensor:
    """Max-13: Element-wise max of each of the input tensors (with Numpy-style broadcasting support). All inputs and
    outputs must have the same data type. This operator supports **multidirectional (i.e., Numpy-style) broadcasting**;
    for more details please check [the doc](Broadcasting.md).
    """

@overload
def MaxPool(
    X: _Operand,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
    outputs: None = None,
) -> Tensor:
    """MaxPool-22: MaxPool consumes an input tensor X and applies max pooling across the tensor according to kernel
    sizes, stride sizes, and pad lengths. max pooling consisting of computing the max on all values of a subset of the
    input tensor according to the kernel size and downsampling the data into the output tensor Y for further processing.
    The output spatial shape is calculated differently depending on whether explicit padding is used, where pads is
    employed, or auto padding is used, where auto_pad is utilized. With explicit padding
    (https://pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html?highlight=maxpool#torch.nn.MaxPool2d):
    """

@overload
def MaxPool(
    X: _Operand,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
    outputs: int,
) -> tuple[Tensor, ...]:
    """MaxPool-22: MaxPool consumes an input tensor X and applies max pooling across the tensor according to kernel
    sizes, stride sizes, and pad lengths. max pooling consisting of computing the max on all values of a subset of the
    input tensor according to the kernel size and downsampling the data into the output tensor Y for further processing.
    The output spatial shape is calculated differently depending on whether explicit padding is used, where pads is
    employed, or auto padding is used, where auto_pad is utilized. With explicit padding
    (https://pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html?highlight=maxpool#torch.nn.MaxPool2d):
    """

def MaxRoiPool(X: _Operand, rois: _Operand, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0) -> Tensor:
    """MaxRoiPool-22: ROI max pool consumes an input tensor X and region of interests (RoIs) to apply max pooling across
    each RoI, to produce output 4-D tensor of shape (num_rois, channels, pooled_shape[0], pooled_shape[1]).
    """

def MaxUnpool(
    X: _Operand,
    I: _Operand,
    output_shape: _Operand | None = None,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """MaxUnpool-22: MaxUnpool essentially computes the partial inverse of the MaxPool op. The input information to this
    op is typically the output information from a MaxPool op. The first input tensor X is the tensor that needs to be
    unpooled, which is typically the pooled tensor (first output) from MaxPool. The second input tensor, I, contains the
    indices to the (locally maximal) elements corresponding to the elements in the first input tensor X. Input tensor I
    is typically the second output of the MaxPool op. The third (optional) input is a tensor that specifies the output
    size of the unpooling operation.
    """

def Mean(*data_0: _Operand) -> Tensor:
    """Mean-13: Element-wise mean of each of the input tensors (with Numpy-style broadcasting support). All inputs and
    outputs must have the same data type. This operator supports **multidirectional (i.e., Numpy-style) broadcasting**;
    for more details please check [the doc](Broadcasting.md).
    """

def MeanVarianceNormalization(X: _Operand, *, axes: Sequence[int] = ...) -> Tensor:
    """MeanVarianceNormalization-13: A MeanVarianceNormalization Function: Perform mean variance normalization on the
    input tensor X using formula: `(X-EX)/sqrt(E(X-EX)^2)`
    """

def MelWeightMatrix(
    num_mel_bins: _Operand,
    dft_length: _Operand,
    sample_rate: _Operand,
    lower_edge_hertz: _Operand,
    upper_edge_hertz: _Operand,
    *,
    output_datatype: _DType = 1,
) -> Tensor:
    """MelWeightMatrix-17: Generate a MelWeightMatrix that can be used to re-weight a Tensor containing a linearly
    sampled frequency spectra (from DFT or STFT) into num_mel_bins frequency information based on the [lower_edge_hertz,
    upper_edge_hertz] range on the mel scale. This function defines the mel scale in terms of a frequency in hertz
    according to the following formula:
    """

def Min(*data_0: _Operand) -> Tensor:
    """Min-13: Element-wise min of each of the input tensors (with Numpy-style broadcasting support). All inputs and
    outputs must have the same data type. This operator supports **multidirectional (i.e., Numpy-style) broadcasting**;
    for more details please check [the doc](Broadcasting.md).
    """

def Mish(X: _Operand) -> Tensor:
    """Mish-22: Mish: A Self Regularized Non-Monotonic Neural Activation Function."""

def Mod(A: _Operand, B: _Operand, *, fmod: int = 0) -> Tensor:
    """Mod-13: Performs an element-wise binary modulo operation. The semantics and supported data types depend on the
    value of the `fmod` attribute which must be `0` (default), or `1`.
    """

def Mul(A: _Operand, B: _Operand) -> Tensor:
    """Mul-14: Performs element-wise binary multiplication (with Numpy-style broadcasting support)."""

def Multinomial(input: _Operand, *, dtype: _DType = 6, sample_size: int = 1, seed: float | None = None) -> Tensor:
    """Multinomial-22: Generate a tensor of samples from a multinomial distribution according to the probabilities of
    each of the possible outcomes.
    """

def Neg(X: _Operand) -> Tensor:
    """Neg-13: Neg takes one input data (Tensor<T>) and produces one output data (Tensor<T>) where each element flipped
    sign, y = -x, is applied to the tensor elementwise.
    """

def NegativeLogLikelihoodLoss(
    input: _Operand,
    target: _Operand,
    weight: _Operand | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """NegativeLogLikelihoodLoss-22: A NegativeLogLikelihoodLoss operator computes (weighted) negative log likelihood
    loss. Its "input" tensor has the shape of (N, C, d1, d2, ..., dk) where k >= 0. The "input" tensor contains log-
    probabilities for input[n, :, d_1, d_2,..., d_k] being in a class of [0, C). The operator's "target" input tensor
    has the shape of (N, d1, d2, ..., dk). It encodes class labels (one of C classes) or it may contain a special value
    (indicated by an attribute ignore_index) for N x d1 x d2 x ... x dk samples. The loss value for input[n, :, d_1,
    d_2,...d_k] being classified as class c = target[n][d_1][d_2]...[d_k] is computed as:
    """

def NonMaxSuppression(
    boxes: _Operand,
    scores: _Operand,
    max_output_boxes_per_class: _Operand | None = None,
    iou_threshold: _Operand | None = None,
    score_threshold: _Operand | None = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    """NonMaxSuppression-11: Filter out boxes that have high intersection-over-union (IOU) overlap with previously
    selected boxes. Bounding boxes with score less than score_threshold are removed. Bounding box format is indicated by
    attribute center_point_box. Boxes are suppressed if their IOU with a previously selected box is strictly greater
    than iou_threshold (i.e., boxes with IOU exactly equal to the threshold are kept). Note that this algorithm is
    agnostic to where the origin is in the coordinate system and more generally is invariant to orthogonal
    transformations and translations of the coordinate system; thus translating or reflections of the coordinate system
    result in the same boxes being selected by the algorithm. The selected_indices output is a set of integers indexing
    into the input collection of bounding boxes representing the selected boxes. The bounding box coordinates
    corresponding to the selected indices can then be obtained using the Gather or GatherND operation.
    """

def NonZero(X: _Operand) -> Tensor:
    """NonZero-13: Returns the indices of the elements that are non-zero (in row-major order - by dimension). NonZero
    behaves similar to numpy.nonzero: https://docs.scipy.org/doc/numpy/reference/generated/numpy.nonzero.html, but for
    scalar input, NonZero produces output shape (0, N) instead of (1, N), which is different from Numpy's behavior.
    """

def Not(X: _Operand) -> Tensor:
    """Not-1: Returns the negation of the input tensor element-wise."""

def OneHot(indices: _Operand, depth: _Operand, values: _Operand, *, axis: int = -1) -> Tensor:
    """OneHot-11: Produces a one-hot tensor based on inputs. The locations represented by the index values in the
    'indices' input tensor will have 'on_value' and the other locations will have 'off_value' in the output tensor,
    where 'on_value' and 'off_value' are specified as part of required input argument 'values', which is a two-element
    tensor of format [off_value, on_value]. The rank of the output tensor will be one greater than the rank of the input
    tensor. The additional dimension is for one-hot representation. The additional dimension will be inserted at the
    position specified by 'axis'. If 'axis' is not specified then the additional dimension will be inserted as the
    innermost dimension, i.e. axis=-1. The size of the additional dimension is specified by required scalar input
    'depth'. The type of the output tensor is the same as the type of the 'values' input. Any entries in the 'indices'
    input tensor with values outside the range [-depth, depth-1] will result in one-hot representation with all
    'off_value' values in the output tensor.
    """

def Optional(input: _Operand | None = None, *, type: Type | None = None) -> Tensor:
    """Optional-15: Constructs an optional-type value containing either an empty optional of a certain type specified by
    the attribute, or a non-empty value containing the input element.
    """

def OptionalGetElement(input: _Operand) -> Tensor:
    """OptionalGetElement-18: If the input is a tensor or sequence type, it returns the input. If the input is an
    optional type, it outputs the element in the input. It is an error if the input is an empty optional-type (i.e. does
    not have an element) and the behavior is undefined in this case.
    """

def OptionalHasElement(input: _Operand | None = None) -> Tensor:
    """OptionalHasElement-18: Returns true if (1) the input is an optional-type and contains an element, or, (2) the
    input is a tensor or sequence type. If the input is not provided or is an empty optional-type, this op returns
    false.
    """

def Or(A: _Operand, B: _Operand) -> Tensor:
    """Or-7: Returns the tensor resulted from performing the `or` logical operation elementwise on the input tensors `A`
    and `B` (with Numpy-style broadcasting support).
    """

def PRelu(X: _Operand, slope: _Operand) -> Tensor:
    """PRelu-16: PRelu takes input data (Tensor<T>) and slope tensor as input, and produces one output data (Tensor<T>)
    where the function `f(x) = slope * x for x < 0`, `f(x) = x for x >= 0`., is applied to the data tensor elementwise.
    This operator supports **unidirectional broadcasting** (tensor slope should be unidirectional broadcastable to input
    tensor X); for more details please check [the doc](Broadcasting.md).
    """

def Pad(
    data: _Operand,
    pads: _Operand,
    constant_value: _Operand | None = None,
    axes: _Operand | None = None,
    *,
    mode: str = "constant",
) -> Tensor:
    """Pad-25: Given a tensor containing the data to be padded (`data`), a tensor containing the number of start and end
    pad values for axis (`pads`), (optionally) a `mode`, and (optionally) `constant_value`, a padded tensor (`output`)
    is generated.
    """

def Pow(X: _Operand, Y: _Operand) -> Tensor:
    """Pow-15: Pow takes input data (Tensor<T>) and exponent Tensor, and produces one output data (Tensor<T>) where the
    function `f(x) = x^exponent`, is applied to the data tensor elementwise. This operator supports **multidirectional
    (i.e., Numpy-style) broadcasting**; for more details please check [the doc](Broadcasting.md).
    """

def QLinearConv(
    x: _Operand,
    x_scale: _Operand,
    x_zero_point: _Operand,
    w: _Operand,
    w_scale: _Operand,
    w_zero_point: _Operand,
    y_scale: _Operand,
    y_zero_point: _Operand,
    B: _Operand | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """QLinearConv-10: The convolution operator consumes a quantized input tensor, its scale and zero point, a quantized
    filter, its scale and zero point, and output's scale and zero point, and computes the quantized output. Each scale
    and zero-point pair must have same shape. It means they must be either scalars (per tensor) or 1-D tensors (per
    output channel). Each input or output and its related zero point must have same type. When bias is present it must
    be quantized using scale = input scale * weight scale and zero point as 0.
    """

def QLinearMatMul(
    a: _Operand,
    a_scale: _Operand,
    a_zero_point: _Operand,
    b: _Operand,
    b_scale: _Operand,
    b_zero_point: _Operand,
    y_scale: _Operand,
    y_zero_point: _Operand,
) -> Tensor:
    """QLinearMatMul-21: Matrix product that behaves like
    [numpy.matmul](https://numpy.org/doc/stable/reference/generated/numpy.matmul.html). It consumes two quantized input
    tensors, their scales and zero points, scale and zero point of output, and computes the quantized output. The
    quantization formula is y = saturate((x / y_scale) + y_zero_point). For (x / y_scale), it is rounding to nearest
    ties to even. Refer to https://en.wikipedia.org/wiki/Rounding for details. Scale and zero point must have same
    shape. They must be either scalar (per tensor) or N-D tensor (per row for 'a' and per column for 'b'). Scalar refers
    to per tensor quantization whereas N-D refers to per row or per column quantization. If the input is 2D of shape [M,
    K] then zero point and scale tensor may be an M element vector [v_1, v_2, ..., v_M] for per row quantization and K
    element vector of shape [v_1, v_2, ..., v_K] for per column quantization. If the input is N-D tensor with shape [D1,
    D2, M, K] then zero point and scale tensor may have shape [D1, D2, M, 1] for per row quantization and shape [D1, D2,
    1, K] for per column quantization. Production must never overflow, and accumulation may overflow if and only if in
    32 bits.
    """

def QuantizeLinear(
    x: _Operand,
    y_scale: _Operand,
    y_zero_point: _Operand | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: _DType = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Tensor:
    """QuantizeLinear-25: The linear quantization operator consumes a high-precision tensor, a scale, and a zero point
    to compute the low-precision/quantized tensor. The scale factor and zero point must have the same shape, determining
    the quantization granularity. The quantization formula is `y = saturate((x / y_scale) + y_zero_point)`.
    """

def RMSNormalization(
    X: _Operand,
    scale: _Operand,
    *,
    axis: int = -1,
    epsilon: float = 1e-05,
    stash_type: _DType = 1,
) -> Tensor:
    """RMSNormalization-23: This is RMS normalization defined in ONNX as function as described in the paper
    https://arxiv.org/pdf/1910.07467. The overall computation can be split into two stages. The root mean squared norm
    is taken over the last D dimensions, where D is the dimension of normalized_shape. For example, if normalized_shape
    is (3, 5) (a 2-dimensional shape), the rms norm is computed over the last 2 dimensions of the input. The computation
    required by standardization can be described by the following equations.
    """

def RNN(
    X: _Operand,
    W: _Operand,
    R: _Operand,
    B: _Operand | None = None,
    sequence_lens: _Operand | None = None,
    initial_h: _Operand | None = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] = ...,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> tuple[Tensor, Tensor]:
    """RNN-22: Computes an one-layer simple RNN. This operator is usually supported via some custom implementation such
    as CuDNN.
    """

def RandomNormal(
    *,
    shape: Sequence[int],
    dtype: _DType = 1,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
) -> Tensor:
    """RandomNormal-22: Generate a tensor with random values drawn from a normal distribution. The shape of the tensor
    is specified by the `shape` argument and the parameter of the normal distribution specified by `mean` and `scale`.
    """

def RandomNormalLike(
    input: _Operand,
    *,
    dtype: _DType | None = None,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
) -> Tensor:
    """RandomNormalLike-22: Generate a tensor with random values drawn from a normal distribution. The shape of the
    output tensor is copied from the shape of the input tensor, and the parameters of the normal distribution are
    specified by `mean` and `scale`.
    """

def RandomUniform(
    *,
    shape: Sequence[int],
    dtype: _DType = 1,
    high: float = 1.0,
    low: float = 0.0,
    seed: float | None = None,
) -> Tensor:
    """RandomUniform-22: Generate a tensor with random values drawn from a uniform distribution. The shape of the tensor
    is specified by the `shape` argument and the range by `low` and `high`.
    """

def RandomUniformLike(
    input: _Operand,
    *,
    dtype: _DType | None = None,
    high: float = 1.0,
    low: float = 0.0,
    seed: float | None = None,
) -> Tensor:
    """RandomUniformLike-22: Generate a tensor with random values drawn from a uniform distribution. The shape of the
    output tensor is copied from the shape of the input tensor, and the parameters of the uniform distribution are
    specified by `low` and `high`.
    """

def Range(start: _Operand, limit: _Operand, delta: _Operand) -> Tensor:
    """Range-11: Generate a tensor containing a sequence of numbers that begin at `start` and extends by increments of
    `delta` up to `limit` (exclusive).
    """

def Reciprocal(X: _Operand) -> Tensor:
    """Reciprocal-13: Reciprocal takes one input data (Tensor<T>) and produces one output data (Tensor<T>) where the
    reciprocal is, y = 1/x, is applied to the tensor elementwise.
    """

def ReduceL1(
    data: _Operand,
    axes: _Operand | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Tensor:
    """ReduceL1-18: Computes the L1 norm of the input tensor's elements along the provided axes. The resulting tensor
    has the same rank as the input if `keepdims` equals 1. If `keepdims` equals 0, then the resulting tensor has the
    reduced dimension pruned. Input tensors of rank zero are valid. Reduction over an empty set of values yields 0.
    """

def ReduceL2(
    data: _Operand,
    axes: _Operand | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Tensor:
    """ReduceL2-18: Computes the L2 norm of the input tensor's elements along the provided axes. The resulting tensor
    has the same rank as the input if `keepdims` equals 1. If `keepdims` equals 0, then the resulting tensor has the
    reduced dimension pruned. Input tensors of rank zero are valid. Reduction over an empty set of values yields 0.
    """

def ReduceLogSum(
    data: _Operand,
    axes: _Operand | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Tensor:
    """ReduceLogSum-18: Computes the log sum of the input tensor's elements along the provided axes. The resulting
    tensor has the same rank as the input if `keepdims` equals 1. If `keepdims` equals 0, then the resulting tensor has
    the reduced dimension pruned. Input tensors of rank zero are valid. Reduction over an empty set of values yields
    minus infinity (if supported by the datatype) or undefined otherwise.
    """

def ReduceLogSumExp(
    data: _Operand,
    axes: _Operand | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Tensor:
    """ReduceLogSumExp-18: Computes the log sum exponent of the input tensor's elements along the provided axes. The
    resulting tensor has the same rank as the input if `keepdims` equals 1. If `keepdims` equals 0, then the resulting
    tensor has the reduced dimension pruned. Input tensors of rank zero are valid. Reduction over an empty set of values
    yields minus infinity (if supported by the datatype) or undefined otherwise.
    """

def ReduceMax(
    data: _Operand,
    axes: _Operand | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Tensor:
    """ReduceMax-20: Computes the max of the input tensor's elements along the provided axes. The resulting tensor has
    the same rank as the input if `keepdims` equals 1. If `keepdims` equals 0, then the resulting tensor has the reduced
    dimension pruned. Input tensors of rank zero are valid. Reduction over an empty set of values yields minus infinity
    (if supported by the datatype) or the minimum value of the data type otherwise.
    """

def ReduceMean(
    data: _Operand,
    axes: _Operand | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Tensor:
    """ReduceMean-18: Computes the mean of the input tensor's elements along the provided axes. The resulting tensor has
    the same rank as the input if `keepdims` equals 1. If `keepdims` equals 0, then the resulting tensor has the reduced
    dimension pruned. Input tensors of rank zero are valid. Reduction over an empty set of values yields undefined.
    """

def ReduceMin(
    data: _Operand,
    axes: _Operand | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Tensor:
    """ReduceMin-20: Computes the min of the input tensor's elements along the provided axes. The resulting tensor has
    the same rank as the input if `keepdims` equals 1. If `keepdims` equals 0, then the resulting tensor has the reduced
    dimension pruned. Input tensors of rank zero are valid. Reduction over an empty set of values yields plus infinity
    (if supported by the datatype) or the maximum value of the data type otherwise.
    """

def ReduceProd(
    data: _Operand,
    axes: _Operand | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Tensor:
    """ReduceProd-18: Computes the product of the input tensor's elements along the provided axes. The resulting tensor
    has the same rank as the input if `keepdims` equals 1. If `keepdims` equals 0, then the resulting tensor has the
    reduced dimension pruned. Input tensors of rank zero are valid. Reduction over an empty set of values yields 1.
    """

def ReduceSum(
    data: _Operand,
    axes: _Operand | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Tensor:
    """ReduceSum-13: Computes the sum of the input tensor's elements along the provided axes. The resulting tensor has
    the same rank as the input if `keepdims` equals 1. If `keepdims` equals 0, then the resulting tensor has the reduced
    dimension pruned. Input tensors of rank zero are valid. Reduction over an empty set of values yields 0.
    """

def ReduceSumSquare(
    data: _Operand,
    axes: _Operand | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Tensor:
    """ReduceSumSquare-18: Computes the sum square of the input tensor's elements along the provided axes. The resulting
    tensor has the same rank as the input if `keepdims` equals 1. If `keepdims` equals 0, then the resulting tensor has
    the reduced dimension pruned. Input tensors of rank zero are valid. Reduction over an empty set of values yields 0.
    """

def RegexFullMatch(X: _Operand, *, pattern: str | None = None) -> Tensor:
    """RegexFullMatch-20: RegexFullMatch performs a full regex match on each element of the input tensor. If an element
    fully matches the regex pattern specified as an attribute, the corresponding element in the output is True and it is
    False otherwise. [RE2](https://github.com/google/re2/wiki/Syntax) regex syntax is used.
    """

def Relu(X: _Operand) -> Tensor:
    """Relu-14: Relu takes one input data (Tensor<T>) and produces one output data (Tensor<T>) where the rectified
    linear function, y = max(0, x), is applied to the tensor elementwise.
    """

def Reshape(data: _Operand, shape: _Operand, *, allowzero: int = 0) -> Tensor:
    """Reshape-25: Reshape the input tensor similar to numpy.reshape. First input is the data tensor, second input is a
    shape tensor which specifies the output shape. It outputs the reshaped tensor. At most one dimension of the new
    shape can be -1. In this case, the value is inferred from the size of the tensor and the remaining dimensions. A
    dimension could also be 0, in which case the actual dimension value is unchanged (i.e. taken from the input tensor).
    If 'allowzero' is set, and the new shape includes 0, the dimension will be set explicitly to zero (i.e. not taken
    from input tensor). Shape (second input) could be an empty shape, which means converting to a scalar. The input
    tensor's shape and the output tensor's shape are required to have the same number of elements.
    """

def Resize(
    X: _Operand,
    roi: _Operand | None = None,
    scales: _Operand | None = None,
    sizes: _Operand | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Tensor:
    """Resize-19: Resize the input tensor. In general, it calculates every value in the output tensor as a weighted
    average of neighborhood (a.k.a. sampling locations) in the input tensor. Each dimension value of the output tensor
    is:
    """

def ReverseSequence(input: _Operand, sequence_lens: _Operand, *, batch_axis: int = 1, time_axis: int = 0) -> Tensor:
    """ReverseSequence-10: Reverse batch of sequences having different lengths specified by `sequence_lens`."""

def RoiAlign(
    X: _Operand,
    rois: _Operand,
    batch_indices: _Operand,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Tensor:
    """RoiAlign-22: Region of Interest (RoI) align operation described in the [Mask R-CNN
    paper](https://arxiv.org/abs/1703.06870). RoiAlign consumes an input tensor X and region of interests (rois) to
    apply pooling across each RoI; it produces a 4-D tensor of shape (num_rois, C, output_height, output_width).
    """

def RotaryEmbedding(
    X: _Operand,
    cos_cache: _Operand,
    sin_cache: _Operand,
    position_ids: _Operand | None = None,
    *,
    interleaved: int = 0,
    num_heads: int | None = None,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    """RotaryEmbedding-23: RotaryEmbedding is the implementation of rotary positional embeddings (RoPE) based on the
    paper https://arxiv.org/pdf/2104.09864. The key advantage of RoPE is that it allows the model to understand both the
    absolute position of a token and the relative distances between tokens. This is achieved through a rotational
    mechanism where the extent of rotation is computed based on the token's absolute position (position_ids).
    """

def Round(X: _Operand) -> Tensor:
    """Round-22: Round takes one input Tensor and rounds the values, element-wise, meaning it finds the nearest integer
    for each value. In case of halves, the rule is to round them to the nearest even integer. If input x is integral,
    +0, -0, NaN, or infinite, x itself is returned. The output tensor has the same shape and type as the input.
    """

def STFT(
    signal: _Operand,
    frame_step: _Operand,
    window: _Operand | None = None,
    frame_length: _Operand | None = None,
    *,
    onesided: int = 1,
) -> Tensor:
    """STFT-17: Computes the Short-time Fourier Transform of the signal."""

def Scan(
    *initial_state_and_scan_inputs: _Operand,
    body: Graph,
    num_scan_inputs: int,
    captures: int = 0,
    scan_input_axes: Sequence[int] | None = None,
    scan_input_directions: Sequence[int] | None = None,
    scan_output_axes: Sequence[int] | None = None,
    scan_output_directions: Sequence[int] | None = None,
    outputs: int | None = None,
) -> tuple[Tensor, ...]:
    """Scan-25: Scan can be used to iterate over one or more scan_input tensors, constructing zero or more scan_output
    tensors. It combines ideas from general recurrences, functional programming constructs such as scan, fold, map, and
    zip, and is intended to enable generalizations of RNN-like constructs for sequence-to-sequence processing. Other
    tensors (referred to as state_variables here) can be used to carry a state when iterating from one element to
    another (similar to hidden-state in RNNs, also referred to as loop-carried dependences in the context of loops).
    Many common usages involve a single scan_input tensor (where functionality similar to scan, fold and map can be
    obtained). When more than one scan_input is used, a behavior similar to zip is obtained.
    """

def ScatterElements(
    data: _Operand,
    indices: _Operand,
    updates: _Operand,
    *,
    axis: int = 0,
    reduction: str = "none",
) -> Tensor:
    """ScatterElements-18: ScatterElements takes three inputs `data`, `updates`, and `indices` of the same rank r >= 1
    and an optional attribute axis that identifies an axis of `data` (by default, the outer-most axis, that is axis 0).
    The output of the operation is produced by creating a copy of the input `data`, and then updating its value to
    values specified by `updates` at specific index positions specified by `indices`. Its output shape is the same as
    the shape of `data`.
    """

def ScatterND(data: _Operand, indices: _Operand, updates: _Operand, *, reduction: str = "none") -> Tensor:
    """ScatterND-18: ScatterND takes three inputs `data` tensor of rank r >= 1, `indices` tensor of rank q >= 1, and
    `updates` tensor of rank q + r - indices.shape[-1] - 1. The output of the operation is produced by creating a copy
    of the input `data`, and then updating its value to values specified by `updates` at specific index positions
    specified by `indices`. Its output shape is the same as the shape of `data`.
    """

def Selu(X: _Operand, *, alpha: float = 1.6732632, gamma: float = 1.050701) -> Tensor:
    """Selu-22: Selu takes one input data (Tensor<T>) and produces one output data (Tensor<T>) where the scaled
    exponential linear unit function, `y = gamma * (alpha * e^x - alpha) for x <= 0`, `y = gamma * x for x > 0`, is
    applied to the tensor elementwise.
    """

def SequenceAt(input_sequence: _Operand, position: _Operand) -> Tensor:
    """SequenceAt-11: Outputs a tensor copy from the tensor at 'position' in 'input_sequence'. Accepted range for
    'position' is in `[-n, n - 1]`, where `n` is the number of tensors in 'input_sequence'. Negative value means
    counting positions from the back.
    """

def SequenceConstruct(*inputs: _Operand) -> Tensor:
    """SequenceConstruct-11: Construct a tensor sequence containing 'inputs' tensors. All tensors in 'inputs' must have
    the same data type.
    """

def SequenceEmpty(*, dtype: _DType | None = None) -> Tensor:
    """SequenceEmpty-11: Construct an empty tensor sequence, with given data type."""

def SequenceErase(input_sequence: _Operand, position: _Operand | None = None) -> Tensor:
    """SequenceErase-11: Outputs a tensor sequence that removes the tensor at 'position' from 'input_sequence'. Accepted
    range for 'position' is in `[-n, n - 1]`, where `n` is the number of tensors in 'input_sequence'. Negative value
    means counting positions from the back. 'position' is optional, by default it erases the last tensor from
    'input_sequence'.
    """

def SequenceInsert(input_sequence: _Operand, tensor: _Operand, position: _Operand | None = None) -> Tensor:
    """SequenceInsert-11: Outputs a tensor sequence that inserts 'tensor' into 'input_sequence' at 'position'. 'tensor'
    must have the same data type as 'input_sequence'. Accepted range for 'position' is in `[-n, n]`, where `n` is the
    number of tensors in 'input_sequence'. Negative value means counting positions from the back. 'position' is
    optional, by default it inserts 'tensor' to the back of 'input_sequence'.
    """

def SequenceLength(input_sequence: _Operand) -> Tensor:
    """SequenceLength-11: Produces a scalar(tensor of empty shape) containing the number of tensors in
    'input_sequence'.
    """

def SequenceMap(
    input_sequence: _Operand,
    *additional_inputs: _Operand,
    body: Graph,
    outputs: int | None = None,
) -> tuple[Tensor, ...]:
    """SequenceMap-17: Applies a sub-graph to each sample in the input sequence(s)."""

def Shape(data: _Operand, *, end: int | None = None, start: int = 0) -> Tensor:
    """Shape-25: Takes a tensor as input and outputs an 1D int64 tensor containing the shape of the input tensor.
    Optional attributes start and end can be used to compute a slice of the input tensor's shape. If start axis is
    omitted, the slice starts from axis 0. The end axis, if specified, is exclusive (and the returned value will not
    include the size of that axis). If the end axis is omitted, the axes upto the last one will be included. Negative
    axes indicate counting back from the last axis. Note that axes will be clamped to the range [0, r], where r is the
    rank of the input tensor if they are out-of-range (after adding r in the case of negative axis). Thus, specifying
    any end value > r is equivalent to specifying an end value of r, and specifying any start value < -r is equivalent
    to specifying a start value of 0. If start > end, the result will be an empty shape.
    """

def Shrink(input: _Operand, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """Shrink-9: Shrink takes one input data (Tensor ) and produces one Tensor output, having same datatype and shape
    with input. It has two attributes, lambd and bias. The formula of this operator is: If x < -lambd, y = x + bias; If
    x > lambd, y = x - bias; Otherwise, y = 0.
    """

def Sigmoid(X: _Operand) -> Tensor:
    """Sigmoid-13: Sigmoid takes one input data (Tensor<T>) and produces one output data (Tensor<T>) where the sigmoid
    function, y = 1 / (1 + exp(-x)), is applied to the tensor elementwise.
    """

def Sign(input: _Operand) -> Tensor:
    """Sign-13: Calculate the sign of the given input tensor element-wise. If input > 0, output 1. if input < 0, output
    -1. if input == 0, output 0.
    """

def Sin(input: _Operand) -> Tensor:
    """Sin-22: Calculates the sine of the given input tensor, element-wise."""

def Sinh(input: _Operand) -> Tensor:
    """Sinh-22: Calculates the hyperbolic sine of the given input tensor element-wise."""

def Size(data: _Operand) -> Tensor:
    """Size-25: Takes a tensor as input and outputs a int64 scalar that equals to the total number of elements of the
    input tensor.
    """

def Slice(
    data: _Operand,
    starts: _Operand,
    ends: _Operand,
    axes: _Operand | None = None,
    steps: _Operand | None = None,
) -> Tensor:
    """Slice-13: Produces a slice of the input tensor along multiple axes. Similar to numpy:
    https://numpy.org/doc/stable/user/basics.indexing.html?highlight=slice#slicing-and-striding
    """

def Softmax(input: _Operand, *, axis: int = -1) -> Tensor:
    """Softmax-13: The operator computes the normalized exponential values for the given input:"""

@overload
def SoftmaxCrossEntropyLoss(
    scores: _Operand,
    labels: _Operand,
    weights: _Operand | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
    outputs: None = None,
) -> Tensor:
    """SoftmaxCrossEntropyLoss-13: Loss function that measures the softmax cross entropy between 'scores' and 'labels'.
    This operator first computes a loss tensor whose shape is identical to the labels input. If the input is 2-D with
    shape (N, C), the loss tensor may be a N-element vector L = (l_1, l_2, ..., l_N). If the input is N-D tensor with
    shape (N, C, D1, D2, ..., Dk), the loss tensor L may have (N, D1, D2, ..., Dk) as its shape and
    L[i,][j_1][j_2]...[j_k] denotes a scalar element in L. After L is available, this operator can optionally do a
    reduction operator.
    """

@overload
def SoftmaxCrossEntropyLoss(
    scores: _Operand,
    labels: _Operand,
    weights: _Operand | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
    outputs: int,
) -> tuple[Tensor, ...]:
    """SoftmaxCrossEntropyLoss-13: Loss function that measures the softmax cross entropy between 'scores' and 'labels'.
    This operator first computes a loss tensor whose shape is identical to the labels input. If the input is 2-D with
    shape (N, C), the loss tensor may be a N-element vector L = (l_1, l_2, ..., l_N). If the input is N-D tensor with
    shape (N, C, D1, D2, ..., Dk), the loss tensor L may have (N, D1, D2, ..., Dk) as its shape and
    L[i,][j_1][j_2]...[j_k] denotes a scalar element in L. After L is available, this operator can optionally do a
    reduction operator.
    """

def Softplus(X: _Operand) -> Tensor:
    """Softplus-22: Softplus takes one input data (Tensor<T>) and produces one output data (Tensor<T>) where the
    softplus function, y = ln(exp(x) + 1), is applied to the tensor elementwise.
    """

def Softsign(input: _Operand) -> Tensor:
    """Softsign-22: Calculates the softsign (x/(1+|x|)) of the given input tensor element-wise."""

def SpaceToDepth(input: _Operand, *, blocksize: int) -> Tensor:
    """SpaceToDepth-13: SpaceToDepth rearranges blocks of spatial data into depth. More specifically, this op outputs a
    copy of the input tensor where values from the height and width dimensions are moved to the depth dimension.
    """

def Split(
    input: _Operand,
    split: _Operand | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    outputs: int | None = None,
) -> tuple[Tensor, ...]:
    """Split-18: Split a tensor into a list of tensors, along the specified 'axis'. Either input 'split' or the
    attribute 'num_outputs' should be specified, but not both. If the attribute 'num_outputs' is specified, then the
    tensor is split into equal sized parts. If the tensor is not evenly splittable into `num_outputs`, the last chunk
    will be smaller. If the input 'split' is specified, it indicates the sizes of each output in the split.
    """

def SplitToSequence(input: _Operand, split: _Operand | None = None, *, axis: int = 0, keepdims: int = 1) -> Tensor:
    """SplitToSequence-11: Split a tensor into a sequence of tensors, along the specified 'axis'. Lengths of the parts
    can be specified using the optional argument 'split'. If the argument `split' is not specified, a default scalar
    value of 1 is used as the value of `split'. 'split' must contain only positive numbers. 'split' is either a scalar
    (tensor of empty shape), or a 1-D tensor. If 'split' is a scalar, then 'input' will be split into chunks all of size
    'split' if possible. The last chunk alone may be smaller than 'split' if the 'input' size along the given axis
    'axis' is not divisible by 'split'. If 'split' is a 1-dimensional tensor, the input tensor is split into
    'size(split)' chunks, with lengths of the parts on 'axis' specified in 'split'. In this scenario, the sum of entries
    in 'split' must be equal to the dimension size of input tensor on 'axis'.
    """

def Sqrt(X: _Operand) -> Tensor:
    """Sqrt-13: Square root takes one input data (Tensor<T>) and produces one output data (Tensor<T>) where the square
    root is, y = x^0.5, is applied to the tensor elementwise. If x is negative, then it will return NaN.
    """

def Squeeze(data: _Operand, axes: _Operand | None = None) -> Tensor:
    """Squeeze-25: Remove single-dimensional entries from the shape of a tensor. Takes an input `axes` with a list of
    axes to squeeze. If `axes` is not provided, all the single dimensions will be removed from the shape. If an axis is
    selected with shape entry not equal to one, an error is raised.
    """

def StringConcat(X: _Operand, Y: _Operand) -> Tensor:
    """StringConcat-20: StringConcat concatenates string tensors elementwise (with NumPy-style broadcasting support)"""

def StringNormalizer(
    X: _Operand,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: str | None = None,
    stopwords: Sequence[str] | None = None,
) -> Tensor:
    """StringNormalizer-10: StringNormalization performs string operations for basic cleaning. This operator has only
    one input (denoted by X) and only one output (denoted by Y). This operator first examines the elements in the X, and
    removes elements specified in "stopwords" attribute. After removing stop words, the intermediate result can be
    further lowercased, uppercased, or just returned depending the "case_change_action" attribute. This operator only
    accepts [C]- and [1, C]-tensor. If all elements in X are dropped, the output will be the empty value of string
    tensor with shape [1] if input shape is [C] and shape [1, 1] if input shape is [1, C].
    """

def StringSplit(X: _Operand, *, delimiter: str | None = None, maxsplit: int | None = None) -> tuple[Tensor, Tensor]:
    """StringSplit-20: StringSplit splits a string tensor's elements into substrings based on a delimiter attribute and
    a maxsplit attribute.
    """

def Sub(A: _Operand, B: _Operand) -> Tensor:
    """Sub-14: Performs element-wise binary subtraction (with Numpy-style broadcasting support)."""

def Sum(*data_0: _Operand) -> Tensor:
    """Sum-13: Element-wise sum of each of the input tensors (with Numpy-style broadcasting support). All inputs and
    outputs must have the same data type. This operator supports **multidirectional (i.e., Numpy-style) broadcasting**;
    for more details please check [the doc](Broadcasting.md).
    """

def Swish(X: _Operand, *, alpha: float = 1.0) -> Tensor:
    """Swish-24: Swish function takes one input data (Tensor<T>) and produces one output data (Tensor<T>) of the same
    shape, where $Swish(x) = x * sigmoid(alpha * x)$.
    """

def Tan(input: _Operand) -> Tensor:
    """Tan-22: Calculates the tangent of the given input tensor, element-wise."""

def Tanh(input: _Operand) -> Tensor:
    """Tanh-13: Calculates the hyperbolic tangent of the given input tensor element-wise."""

def TensorScatter(
    past_cache: _Operand,
    update: _Operand,
    write_indices: _Operand | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
) -> Tensor:
    """TensorScatter-24: TensorScatter is a generic tensor update operation, motivated by the requirements for KV cache
    updates for Attention ops commonly found in LLMs. It is a functional operation that models an in-place update to a
    KV cache buffer.
    """

def TfIdfVectorizer(
    X: _Operand,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: Sequence[int],
    ngram_indexes: Sequence[int],
    pool_int64s: Sequence[int] | None = None,
    pool_strings: Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
) -> Tensor:
    """TfIdfVectorizer-9: This transform extracts n-grams from the input sequence and save them as a vector. Input can
    be either a 1-D or 2-D tensor. For 1-D input, output is the n-gram representation of that input. For 2-D input, the
    output is also a 2-D tensor whose i-th row is the n-gram representation of the i-th input row. More specifically, if
    input shape is [C], the corresponding output shape would be [max(ngram_indexes) + 1]. If input shape is [N, C], this
    operator produces a [N, max(ngram_indexes) + 1]-tensor.
    """

def ThresholdedRelu(X: _Operand, *, alpha: float = 1.0) -> Tensor:
    """ThresholdedRelu-22: ThresholdedRelu takes one input data (Tensor<T>) and produces one output data (Tensor<T>)
    where the rectified linear function, y = x for x > alpha, y = 0 otherwise, is applied to the tensor elementwise.
    """

def Tile(input: _Operand, repeats: _Operand) -> Tensor:
    """Tile-13: Constructs a tensor by tiling a given tensor. This is the same as function `tile` in Numpy, but no
    broadcast. For example A = [[1, 2], [3, 4]], B = [1, 2], tile(A, B) = [[1, 2, 1, 2], [3, 4, 3, 4]]
    """

def TopK(X: _Operand, K: _Operand, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> tuple[Tensor, Tensor]:
    """TopK-11: Retrieve the top-K largest or smallest elements along a specified axis. Given an input tensor of shape
    [a_0, a_1, ..., a_{n-1}] and integer argument k, return two outputs:
    """

def Transpose(data: _Operand, *, perm: Sequence[int] | None = None) -> Tensor:
    """Transpose-25: Returns a transpose of the input tensor. (Similar to `numpy.transpose`). The optional attribute
    `perm` specifies the permutation of the axes of the input tensor. `perm` must contain each axis index in `[0, n-1]`
    exactly once, so its length is equal to the rank `n` of the input tensor.
    """

def Trilu(input: _Operand, k: _Operand | None = None, *, upper: int = 1) -> Tensor:
    """Trilu-14: Given a 2-D matrix or batches of 2-D matrices, returns the upper or lower triangular part of the
    tensor(s). The attribute "upper" determines whether the upper or lower part is retained. If set to true, the upper
    triangular matrix is retained. Lower triangular matrix is retained otherwise. Default value for the "upper"
    attribute is true. Trilu takes one input tensor of shape [*, N, M], where * is zero or more batch dimensions. The
    upper triangular part consists of the elements on and above the given diagonal (k). The lower triangular part
    consists of elements on and below the diagonal. All other elements in the matrix are set to zero. If k = 0, the
    triangular part on and above/below the main diagonal is retained. If upper is set to true, a positive k retains the
    upper triangular matrix excluding the main diagonal and (k-1) diagonals above it. A negative k value retains the
    main diagonal and |k| diagonals below it. If upper is set to false, a positive k retains the lower triangular matrix
    including the main diagonal and k diagonals above it. A negative k value excludes the main diagonal and (|k|-1)
    diagonals below it.
    """

@overload
def Unique(X: _Operand, *, axis: int | None = None, sorted: int = 1, outputs: None = None) -> Tensor:
    """Unique-11: Find the unique elements of a tensor. When an optional attribute 'axis' is provided, unique subtensors
    sliced along the 'axis' are returned. Otherwise the input tensor is flattened and unique values of the flattened
    tensor are returned.
    """

@overload
def Unique(X: _Operand, *, axis: int | None = None, sorted: int = 1, outputs: int) -> tuple[Tensor, ...]:
    """Unique-11: Find the unique elements of a tensor. When an optional attribute 'axis' is provided, unique subtensors
    sliced along the 'axis' are returned. Otherwise the input tensor is flattened and unique values of the flattened
    tensor are returned.
    """

def Unsqueeze(data: _Operand, axes: _Operand) -> Tensor:
    """Unsqueeze-25: Insert single-dimensional entries to the shape of an input tensor (`data`). Takes one required
    input `axes` - which contains a list of dimension indices and this operator will insert a dimension of value `1`
    into the corresponding index of the output tensor (`expanded`).
    """

def Where(condition: _Operand, X: _Operand, Y: _Operand) -> Tensor:
    """Where-16: Return elements, either from X or Y, depending on condition. Where behaves like
    [numpy.where](https://docs.scipy.org/doc/numpy/reference/generated/numpy.where.html) with three parameters.
    """

def Xor(A: _Operand, B: _Operand) -> Tensor:
    """Xor-7: Returns the tensor resulted from performing the `xor` logical operation elementwise on the input tensors
    `A` and `B` (with Numpy-style broadcasting support).
    """
