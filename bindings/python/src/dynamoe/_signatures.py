"""The C interface of libdynamoe as ctypes declarations.

Everything here mirrors ``Include/dynamoe.h``: the same structs with the same fields in the same
order, the same functions with the same arguments. Arrays are declared as ``c_void_p``, so an
address goes through without a wrapper object.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    POINTER,
    Structure,
    c_char_p,
    c_double,
    c_float,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any

ABI_VERSION = 1

OK = 0
ERROR_ARGUMENT = -1
ERROR_STATE = -2
ERROR_HANDLE = -3
ERROR_MEMORY = -4
ERROR_FILE = -5
ERROR_FORMAT = -6
ERROR_BUSY = -7
ERROR_FAILED = -8
ERROR_BACKEND = -9

MEASURE_PARTICIPATION = 1
MEASURE_GRADIENT_VARIANCE = 2

PRECISIONS = ("float32", "bfloat16")

TASKS = ("classification", "language_model", "regression")


class ScheduleConfig(Structure):
    """``dynamoe_schedule_config``."""

    _fields_ = [
        ("name", c_char_p),
        ("minimum", c_int64),
        ("maximum", c_int64),
        ("cycles", c_double),
        ("total", c_int64),
    ]


class RouterConfig(Structure):
    """``dynamoe_router_config``."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("kind", c_int32),
        ("gate", c_int32),
        ("reserved", c_int32),
        ("temperature", c_double),
        ("noise", c_double),
        ("min_active", c_int64),
        ("max_active", c_int64),
        ("balance_rate", c_double),
        ("percentile", c_double),
        ("target_active", c_double),
        ("target_active_layers", POINTER(c_double)),
        ("target_active_layer_count", c_size_t),
        ("momentum", c_double),
        ("k", c_int64),
        ("p", c_double),
        ("scale", c_double),
    ]


class LossesConfig(Structure):
    """``dynamoe_losses_config``."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_uint32),
        ("balance", c_double),
        ("z", c_double),
        ("entropy", c_double),
        ("sparsity", c_double),
    ]


class OptimizerConfig(Structure):
    """``dynamoe_optimizer_config``."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("kind", c_int32),
        ("lr", c_double),
        ("beta1", c_double),
        ("beta2", c_double),
        ("eps", c_double),
        ("momentum", c_double),
        ("nesterov", c_int32),
        ("decay_all", c_int32),
        ("weight_decay", c_double),
        ("clip", c_double),
        ("warmup", c_int64),
        ("total", c_int64),
        ("floor", c_double),
    ]


class ModelConfig(Structure):
    """``dynamoe_model_config``."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("task", c_int32),
        ("inputs", c_int64),
        ("vocabulary", c_int64),
        ("outputs", c_int64),
        ("width", c_int64),
        ("experts", POINTER(c_int64)),
        ("layers", c_size_t),
        ("expert_schedule", ScheduleConfig),
        ("hidden", POINTER(c_int64)),
        ("hidden_count", c_size_t),
        ("hidden_schedule", ScheduleConfig),
        ("shared_experts", c_int64),
        ("activation", c_int32),
        ("norm", c_int32),
        ("bias", c_int32),
        ("residual", c_int32),
        ("tied_embedding", c_int32),
        ("reserved", c_int32),
        ("routers", POINTER(RouterConfig)),
        ("router_count", c_size_t),
        ("losses", POINTER(LossesConfig)),
        ("optimizer", POINTER(OptimizerConfig)),
    ]


class LayerConfig(Structure):
    """``dynamoe_layer_config``."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("activation", c_int32),
        ("width", c_int64),
        ("experts", c_int64),
        ("hidden", c_int64),
        ("shared_experts", c_int64),
        ("bias", c_int32),
        ("reserved", c_int32),
        ("router", POINTER(RouterConfig)),
        ("losses", POINTER(LossesConfig)),
        ("optimizer", POINTER(OptimizerConfig)),
    ]


class Tensor(Structure):
    """``dynamoe_tensor``."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("rank", c_uint32),
        ("name", c_char_p),
        ("shape", c_int64 * 4),
        ("count", c_size_t),
        ("data", POINTER(c_float)),
        ("gradient", POINTER(c_float)),
    ]


class Losses(Structure):
    """``dynamoe_losses``."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_uint32),
        ("task", c_double),
        ("balance", c_double),
        ("z", c_double),
        ("entropy", c_double),
        ("sparsity", c_double),
        ("total", c_double),
        ("accuracy", c_double),
    ]


class Info(Structure):
    """``dynamoe_info``."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("task", c_int32),
        ("inputs", c_int64),
        ("vocabulary", c_int64),
        ("outputs", c_int64),
        ("width", c_int64),
        ("layers", c_int64),
        ("parameter_count", c_int64),
        ("active_parameter_count", c_double),
        ("flops_per_row", c_double),
        ("optimizer_steps", c_int64),
        ("training_forwards", c_int64),
        ("tensor_count", c_int64),
        ("buffer_count", c_int64),
        ("precision", c_int32),
        ("reserved", c_int32),
    ]


class Evaluation(Structure):
    """``dynamoe_evaluation``."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_uint32),
        ("loss", c_double),
        ("accuracy", c_double),
        ("r2", c_double),
        ("perplexity", c_double),
        ("rows", c_int64),
    ]


class RoutingStatistics(Structure):
    """``dynamoe_routing_statistics``."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("experts", c_int32),
        ("rows", c_int64),
        ("mean_k", c_double),
        ("variance_k", c_double),
        ("entropy", c_double),
        ("limited_share", c_double),
        ("load_imbalance", c_double),
        ("load_variation", c_double),
        ("unused", c_int64),
        ("participation", c_double),
    ]


class Targets(Structure):
    """``dynamoe_targets``; the arrays as plain addresses."""

    _fields_ = [
        ("classes", c_void_p),
        ("class_count", c_size_t),
        ("values", c_void_p),
        ("value_count", c_size_t),
    ]


STRUCTS: dict[str, type[Structure]] = {
    "dynamoe_schedule_config": ScheduleConfig,
    "dynamoe_router_config": RouterConfig,
    "dynamoe_losses_config": LossesConfig,
    "dynamoe_optimizer_config": OptimizerConfig,
    "dynamoe_model_config": ModelConfig,
    "dynamoe_layer_config": LayerConfig,
    "dynamoe_tensor": Tensor,
    "dynamoe_losses": Losses,
    "dynamoe_info": Info,
    "dynamoe_evaluation": Evaluation,
    "dynamoe_routing_statistics": RoutingStatistics,
    "dynamoe_targets": Targets,
}

Signature = tuple[Any, tuple[Any, ...]]

_ARRAY = (c_void_p, c_size_t)
_TEXT = (c_char_p, c_size_t)
_FEATURES = (c_void_p, c_size_t, c_size_t)
_TOKENS = (c_void_p, c_size_t)
_TARGETS = POINTER(Targets)
_STATISTICS = (POINTER(RoutingStatistics), *_ARRAY, *_ARRAY, *_ARRAY, *_ARRAY)
_OUT_HANDLE = POINTER(c_void_p)


def _status(*arguments: Any) -> Signature:
    return c_int32, arguments


def _network(noun: str, config: type[Structure], layer_index: tuple[Any, ...]) -> dict[str, Any]:
    """Return the functions that models and layers have in common."""
    functions = {
        "create": _status(POINTER(config), c_uint64, _OUT_HANDLE),
        "create_json": _status(c_char_p, c_size_t, c_uint64, _OUT_HANDLE),
        "free": _status(c_void_p),
        "info": _status(c_void_p, POINTER(Info)),
        "config_json": _status(c_void_p, c_void_p, c_size_t, POINTER(c_size_t)),
        "forward": _status(c_void_p, *_FEATURES, c_int32, *_ARRAY),
        "auxiliary_losses": _status(c_void_p, *_ARRAY),
        "step": _status(c_void_p, c_double),
        "zero_gradients": _status(c_void_p),
        "parameter": _status(c_void_p, c_size_t, POINTER(Tensor)),
        "buffer": _status(c_void_p, c_size_t, POINTER(Tensor)),
        "parameter_set": _status(c_void_p, c_char_p, *_ARRAY),
        "buffer_set": _status(c_void_p, c_char_p, *_ARRAY),
        "parameter_get": _status(c_void_p, c_char_p, *_ARRAY),
        "routing_statistics": _status(c_void_p, *layer_index, *_STATISTICS),
        "routing_reset": _status(c_void_p),
        "measure": _status(c_void_p, c_uint32),
        "gradient_variance": _status(c_void_p, *_ARRAY),
        "last_rows": _status(c_void_p, POINTER(c_size_t)),
        "last_routing": _status(c_void_p, *layer_index, *_ARRAY, *_ARRAY),
        "save": _status(c_void_p, c_char_p),
        "load": _status(c_char_p, _OUT_HANDLE),
        "load_as": _status(c_char_p, c_int32, _OUT_HANDLE),
    }
    return {f"dynamoe_{noun}_{verb}": signature for verb, signature in functions.items()}


FUNCTIONS: dict[str, Signature] = {
    "dynamoe_version": (c_char_p, ()),
    "dynamoe_abi_version": (c_uint32, ()),
    "dynamoe_build_info": (c_char_p, ()),
    "dynamoe_last_error": (c_char_p, ()),
    "dynamoe_status_name": (c_char_p, (c_int32,)),
    "dynamoe_threads_set": _status(c_int32),
    "dynamoe_threads_get": (c_int32, ()),
    "dynamoe_schedule_counts": _status(
        c_char_p, c_int64, c_int64, c_int64, c_double, c_int64, *_ARRAY
    ),
    "dynamoe_router_config_init": _status(POINTER(RouterConfig), c_size_t),
    "dynamoe_losses_config_init": _status(POINTER(LossesConfig), c_size_t),
    "dynamoe_optimizer_config_init": _status(POINTER(OptimizerConfig), c_size_t),
    "dynamoe_model_config_init": _status(POINTER(ModelConfig), c_size_t),
    "dynamoe_layer_config_init": _status(POINTER(LayerConfig), c_size_t),
    "dynamoe_preset_json": _status(c_char_p, *_TEXT, *_ARRAY, POINTER(c_size_t)),
    "dynamoe_presets_json": _status(*_ARRAY, POINTER(c_size_t)),
    **_network("model", ModelConfig, (c_size_t,)),
    "dynamoe_model_forward_tokens": _status(c_void_p, *_TOKENS, c_int32, *_ARRAY),
    "dynamoe_model_loss": _status(c_void_p, _TARGETS, POINTER(Losses)),
    "dynamoe_model_backward": _status(c_void_p, _TARGETS, *_ARRAY),
    "dynamoe_model_backward_output": _status(c_void_p, *_ARRAY, *_ARRAY),
    "dynamoe_model_train_batch": _status(c_void_p, *_FEATURES, _TARGETS, *_ARRAY, POINTER(Losses)),
    "dynamoe_model_train_batch_tokens": _status(
        c_void_p, *_TOKENS, _TARGETS, *_ARRAY, POINTER(Losses)
    ),
    "dynamoe_model_evaluate": _status(c_void_p, *_FEATURES, _TARGETS, POINTER(Evaluation), *_ARRAY),
    "dynamoe_model_evaluate_tokens": _status(
        c_void_p, *_TOKENS, _TARGETS, POINTER(Evaluation), *_ARRAY
    ),
    "dynamoe_model_report": _status(c_void_p, *_FEATURES, _TARGETS, *_TEXT, c_char_p),
    "dynamoe_model_report_tokens": _status(c_void_p, *_TOKENS, _TARGETS, *_TEXT, c_char_p),
    "dynamoe_model_calibrate": _status(c_void_p, *_FEATURES, *_ARRAY),
    "dynamoe_model_calibrate_tokens": _status(c_void_p, *_TOKENS, *_ARRAY),
    "dynamoe_session_create": _status(c_void_p, _OUT_HANDLE),
    "dynamoe_session_free": _status(c_void_p),
    "dynamoe_session_threads_set": _status(c_void_p, c_int32),
    "dynamoe_session_forward": _status(c_void_p, *_FEATURES, *_ARRAY),
    "dynamoe_session_forward_tokens": _status(c_void_p, *_TOKENS, *_ARRAY),
    "dynamoe_session_evaluate": _status(
        c_void_p, *_FEATURES, _TARGETS, POINTER(Evaluation), *_ARRAY
    ),
    "dynamoe_session_evaluate_tokens": _status(
        c_void_p, *_TOKENS, _TARGETS, POINTER(Evaluation), *_ARRAY
    ),
    "dynamoe_session_routing_statistics": _status(c_void_p, c_size_t, *_STATISTICS),
    "dynamoe_session_routing_reset": _status(c_void_p),
    "dynamoe_session_last_rows": _status(c_void_p, POINTER(c_size_t)),
    "dynamoe_session_last_routing": _status(c_void_p, c_size_t, *_ARRAY, *_ARRAY),
    **_network("layer", LayerConfig, ()),
    "dynamoe_layer_losses": _status(c_void_p, POINTER(Losses)),
    "dynamoe_layer_backward": _status(c_void_p, *_ARRAY, *_ARRAY),
    "dynamoe_layer_backward_step": _status(c_void_p, *_ARRAY, *_ARRAY, c_double),
    "dynamoe_layer_calibrate": _status(c_void_p, *_FEATURES, c_double),
}


def declare(library: ctypes.CDLL) -> None:
    """Set argument and result types of every function of the header on `library`."""
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
