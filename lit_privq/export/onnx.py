"""Quantized networks for other runtimes: ONNX, whose weights are integers behind DequantizeLinear."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lit_privq.artifacts.codes import StoredLayer, is_pruned, parameter_of
from lit_privq.export.packed import pack
from lit_privq.quantization.layers import from_rows

if TYPE_CHECKING:
    import onnx
    import onnxruntime

_OPSET, _IR_VERSION = 25, 13  # the first with 2-bit integers
_PIXELS = "images: uint8 pixels, 0 to 255, channels first; the graph normalises them"
_AS_GIVEN = "images: float32, normalised as the network was trained"
EXACT = ("session.qdq_matmulnbits_accuracy_level", "1")
"""Session option, key and value, that keeps onnxruntime from rounding activations to 8 bits too."""


def onnx_bytes(
    net: nn.Module,
    layers: Mapping[str, StoredLayer],
    image_shape: Sequence[int],
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    card: Mapping[str, Any] | None = None,
) -> bytes:
    """A quantized network as an ONNX file, checked in onnxruntime.

    Weights are stored as unsigned integers of 2, 4 or 8 bits, the least that hold the levels (1 bit and three levels
    take 2), and scaled on loading; all else is float. A zero that is no integer in this range becomes a subtraction.
    By default onnxruntime also rounds what enters a Linear on several positions to 8 bits; with `EXACT` among its
    session options, as in the check, it does not.

    The input `images` is ``(examples, *image_shape)``: with a mean and std uint8 pixels from 0 to 255, which the graph
    normalises itself; without, float32 as the network takes them. The file's metadata says which, in `input`, and holds
    the model card, a text or JSON for each entry.

    Args:
        net: on the CPU, in eval mode.
        layers: its quantized layers, by name.
        image_shape: (channels, height, width); the number of images stays free.
        mean: per channel, in units of pixel / 255, as in training; none for inputs that were not normalised.
        std: per channel, likewise.
        card: plain values by name, see `lit_privq.export.card.model_card`.

    Raises:
        ValueError: if a package of the extra `onnx` is missing, mean or std is not one per channel, a layer is pruned,
            has more than 256 levels or is not float32, torch.onnx cannot export the network, or onnxruntime's output
            differs from the network's.
    """
    try:
        import onnx  # an extra, and slow to import
        import onnxruntime
        from onnxscript import optimizer
    except ImportError as error:
        raise ValueError(f"ONNX export needs {error.name}; install it with: pip install 'lit_privq[onnx]'") from error

    _check_normalisation(image_shape, mean, std)
    for name, layer in layers.items():
        _check_float32(name, layer)
    program = _exported(net, torch.randn(3, *image_shape, generator=torch.Generator().manual_seed(0)))
    weights = {parameter_of(name, layer) for name, layer in layers.items()}
    optimizer.fold_constants(
        program.model,  # a weight that is folded, as into its transpose, cannot be replaced by codes
        should_fold=lambda node: False if any(value and value.name in weights for value in node.inputs) else None,
    )
    optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    model.ir_version = _IR_VERSION
    _forget_sources(model)
    for name, layer in layers.items():
        _store_integers(model.graph, name, layer)
    if mean:
        _normalise(model.graph, mean, std)
    told = {name: value if isinstance(value, str) else json.dumps(value) for name, value in (card or {}).items()}
    onnx.helper.set_model_props(model, {"input": _PIXELS if mean else _AS_GIVEN, **told})
    content: bytes = model.SerializeToString()
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*EXACT)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    _check_output(session, net, image_shape, mean, std)
    return content


def _check_normalisation(image_shape: Sequence[int], mean: Sequence[float], std: Sequence[float]) -> None:
    if {len(mean), len(std)} not in ({0}, {image_shape[0]}):
        raise ValueError(
            f"mean and std must be given together, one for each of the {image_shape[0]} channels; "
            f"got {list(mean)} and {list(std)}"
        )


def _check_output(
    session: onnxruntime.InferenceSession,
    net: nn.Module,
    image_shape: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
) -> None:
    """Refuse a file from which onnxruntime computes something else than PyTorch."""
    generator = torch.Generator().manual_seed(0)
    if mean:
        images = torch.randint(256, (3, *image_shape), dtype=torch.uint8, generator=generator)
        scale, offset = (value.view(-1, 1, 1) for value in _affine(mean, std))  # (channels, 1, 1)
        inputs = images * scale + offset
    else:
        inputs = images = torch.randn(3, *image_shape, generator=generator)
    (got,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        wanted = net(inputs)
    if not torch.allclose(torch.from_numpy(got), wanted, rtol=1e-3, atol=1e-4):
        worst = float((torch.from_numpy(got) - wanted).abs().max())
        raise ValueError(f"onnxruntime's output differs from the network's by up to {worst:.2g}; export to safetensors")


def _affine(mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Scale and offset per channel, (channels,), of (pixel / 255 - mean) / std."""
    return 1 / (255 * torch.tensor(std)), -torch.tensor(mean) / torch.tensor(std)


def _normalise(graph: onnx.GraphProto, mean: Sequence[float], std: Sequence[float]) -> None:
    """Let the graph take uint8 pixels: nodes before all others make of them what it took so far."""
    from onnx import TensorProto, helper, numpy_helper

    (images,) = graph.input
    inputs = "images.normalised"
    for node in graph.node:
        node.input[:] = [inputs if name == images.name else name for name in node.input]
    for name, value in zip(("images.scale", "images.offset"), _affine(mean, std), strict=True):
        graph.initializer.append(numpy_helper.from_array(value.view(-1, 1, 1).numpy(), name))
    images.type.tensor_type.elem_type = TensorProto.UINT8
    nodes = [
        helper.make_node("Cast", [images.name], ["images.float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["images.float", "images.scale"], ["images.scaled"]),
        helper.make_node("Add", ["images.scaled", "images.offset"], [inputs]),
    ]
    for node in reversed(nodes):
        graph.node.insert(0, node)


def _check_float32(name: str, layer: StoredLayer) -> None:
    if is_pruned(layer):
        raise ValueError(
            f"layer {name} is pruned, and runtimes read no sparse weights from ONNX, so that the file would be as "
            "large as the float network's; export to safetensors"
        )
    dtype = layer["scale"].dtype
    if dtype != torch.float32:
        raise ValueError(
            f"ONNX export needs float32 weights, as runtimes scale integers to these; layer {name} has {dtype}; "
            "quantize the network after net.float(), or export to safetensors"
        )


def _exported(net: nn.Module, images: Tensor) -> torch.onnx.ONNXProgram:
    """The network in ONNX, its weights still float."""
    try:
        program = torch.onnx.export(
            net,
            (images,),
            dynamo=True,
            optimize=False,  # it would fold batch norms into the weights, which then leave their grids
            verbose=False,
            opset_version=_OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("examples")},),
        )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ValueError(
            f"torch.onnx cannot export {type(net).__name__} for images {list(images.shape[1:])}: {reason}; "
            "check the shape of its images, or export to safetensors"
        ) from error
    assert program is not None
    return program


def _store_integers(graph: onnx.GraphProto, layer_name: str, layer: StoredLayer) -> None:
    """Replace a float weight by its codes and the nodes that turn them into the weight."""
    from onnx import TensorProto, helper, numpy_helper

    name = parameter_of(layer_name, layer)
    position = next((index for index, tensor in enumerate(graph.initializer) if tensor.name == name), None)
    if position is None:
        raise ValueError(f"layer {layer_name}: torch.onnx left no weight of its name to replace; export to safetensors")
    dims = list(graph.initializer[position].dims)
    del graph.initializer[position]
    bits = next((bits for bits in (2, 4, 8) if layer["levels"] <= 2**bits), None)
    if bits is None:
        raise ValueError(f"{name} has {layer['levels']} levels; ONNX export stores at most 256 (8 bits)")
    kind = {2: TensorProto.UINT2, 4: TensorProto.UINT4, 8: TensorProto.UINT8}[bits]

    def integers(name: str, values: Tensor, shape: Sequence[int]) -> None:
        raw = pack(values, 2**bits).numpy().tobytes()
        graph.initializer.append(helper.make_tensor(name, kind, shape, raw, raw=True))

    scale, zero = layer["scale"].flatten(), layer["zero"].flatten()
    transposed = layer.get("transposed_groups", 0)
    if transposed > 1:
        raise ValueError(
            f"layer {layer_name}: ONNX has no scale per output channel of a transposed convolution with {transposed} "
            "groups; export to safetensors"
        )
    axis = 1 if transposed else 0  # of the output channels
    integers(f"{name}.codes", from_rows(layer["codes"], dims, transposed), dims)
    graph.initializer.append(numpy_helper.from_array(scale.numpy(), f"{name}.scale"))
    whole = bool(((zero == zero.round()) & (zero >= 0) & (zero < 2**bits)).all())
    inputs, output = [f"{name}.codes", f"{name}.scale"], name if whole else f"{name}.scaled"
    if whole:
        integers(f"{name}.zero", zero, list(zero.shape))
        inputs.append(f"{name}.zero")
    nodes = [helper.make_node("DequantizeLinear", inputs, [output], axis=axis)]
    if not whole:
        offset = (scale * zero).view(-1, *[1] * (len(dims) - 1 - axis)).numpy()  # (rows, 1, ...)
        graph.initializer.append(numpy_helper.from_array(offset, f"{name}.offset"))
        nodes.append(helper.make_node("Sub", [output, f"{name}.offset"], [name]))
    for node in reversed(nodes):
        graph.node.insert(0, node)


def _forget_sources(model: Any) -> None:  # noqa: ANN401
    """Drop the stack traces, and with them the paths of this machine."""
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
