"""Every option of `compile`, once: its default, its check, its documentation, its flag, and what a model records of it.

Adding an option takes a field here, the code that uses it, and a test: `compile`'s signature and documentation, the flags
of the command line and the metadata of a model all come from the fields.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hugectr2onnx.errors import FeedError, OptionError, Setting
from hugectr2onnx.frontend.suggestion import nearest
from hugectr2onnx.options import checks, flag_text
from hugectr2onnx.options.description import Description, Flag, describe, option

OPT_LEVELS = (0, 1, 2, 3)
OPSETS = range(17, 24)
METADATA_KEY = "hugectr2onnx.options"
"""The key of a model's metadata under which its options stand."""

Progress = Callable[[str, float], None]
"""Called with the name of a stage that begins and the share of the stages that are done."""
Shapes = Mapping[str, Sequence[int | str | None]]
PerTable = str | Mapping[str, str]
"""One value for all tables, or one for each of some, by the top of their embedding."""
PerLayer = str | Mapping[str, str]
"""One value for the products of all layers, or one for each of some, by HugeCTR's names; "*" are the others."""
DefaultVectors = float | Mapping[str, float] | Sequence[tuple[str, float]] | None
"""A number for all tables, one for each of some, or those of a ps.json in its order; None: as the graph JSON says."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `compile`: what a caller says about a model beyond its files, and wants of the result.

    A value is checked and brought to its normal form when the object is made; `dataclasses.replace` gives a changed copy.
    Raises OptionError.
    """

    opt_level: int = option(
        2,
        checks.one_of(OPT_LEVELS),
        "result",
        "0: one plain expansion per layer; 1: exact optimizations; 2: algebraic ones too, standard operators only; "
        "3: the fastest on onnxruntime's CPU.",
        Flag("--opt-level", "{0,1,2,3}", short="-O", parse=flag_text.integer),
        is_recorded_by_default=True,
    )
    convert_embedding: bool = option(
        True,
        checks.boolean,
        "model",
        "False makes the embedding vectors [N, slot, vec] inputs instead of the keys.",
        Flag("--no-embedding", constant=False, help="the vectors [N, slot, vec] are inputs, not the keys"),
        is_recorded_by_default=True,
    )
    input_shapes: Shapes = option(
        None,
        checks.shapes,
        "model",
        '{tensor: shape} for tensors that nothing in the JSON produces; they become inputs. None or "N" is the batch.',
        Flag(
            "--input-shape",
            "NAME=N,26,16",
            parse=flag_text.named_shape,
            collect=flag_text.by_name,
            help="make a tensor that nothing in the JSON produces an input; N is the batch",
        ),
        is_recorded_by_default=True,
    )
    layer_attrs: Mapping[str, Mapping[str, object]] = option(
        None,
        checks.attributes,
        "model",
        "{top: {name: value}} for what graph_to_json loses (shape of Reshape, dim and index of Select, projection_dim of "
        "MultiCross), and for options of layers (mean and var of PReLU_Dice for frozen statistics).",
        Flag(
            "--layer-attrs",
            "JSON",
            parse=flag_text.json_object,
            help='file or text such as {"reshape1": {"shape": [-1, 26, 16]}}: what graph_to_json loses',
        ),
        is_recorded_by_default=True,
    )
    slot_size_array: Sequence[int] | None = option(
        None,
        checks.slot_sizes,
        "model",
        "The reader's list: inputs are then raw keys for each slot, and the graph adds the offsets.",
        Flag(
            "--slot-size-array",
            "10,0,4",
            parse=flag_text.sizes,
            help="the reader's list, or a JSON file that holds it: inputs are then raw keys, slot by slot",
        ),
        is_recorded_by_default=True,
    )
    embedding_collection: object = option(
        None,
        checks.description,
        "model",
        "The look-ups of an EmbeddingCollection, which graph_to_json loses, and the folder of embedding_dump: a mapping or "
        "a JSON file (see `frontend.embeddings.embedding_collection`).",
        Flag(
            "--embedding-collection",
            "FILE.json",
            help="the look-ups of an EmbeddingCollection, which graph_to_json loses, and the folder of embedding_dump",
        ),
        names_files=True,
        is_recorded_by_default=True,
    )
    n_gpus: int | None = option(
        None,
        checks.gpus,
        "model",
        "The number of GPUs of the training, for Localized tables with repeated keys.",
        Flag("--n-gpus", "N", parse=flag_text.integer),
        is_recorded_by_default=True,
    )
    keep_empty_dense: bool = option(
        False,
        checks.boolean,
        "model",
        "Keep the dense input where dense_dim is 0.",
        Flag("--keep-empty-dense", constant=True, help="keep the dense input where dense_dim is 0"),
        is_recorded_by_default=True,
    )
    outputs: Sequence[str] | None = option(
        None,
        checks.output_names,
        "model",
        "The tensors to compute, by HugeCTR's names: labels, tops of layers (a tower, the logit behind a loss), tops of "
        "embeddings. What they do not need is left out, inputs too. None: the predictions.",
        Flag(
            "--outputs",
            "NAME,...",
            collect=flag_text.names,
            help="compute these tensors, by HugeCTR's names, such as label,fc3 (default: the predictions)",
        ),
    )
    load_plugins: bool = option(
        False,
        checks.boolean,
        "model",
        "Load layers of one's own that installed packages register (entry points of the group hugectr2onnx.layers).",
        Flag("--plugins", constant=True, help="load the layers that other installed packages register"),
        is_recorded=False,
    )
    interface: str = option(
        "padded",
        checks.interface,
        "model",
        'How keys come in. "padded": int64 [N, slot, nnz] for each sparse top. "csr": all keys of a TOP, int64 [K], and '
        'TOP.offsets, int64 [N * slot_num + 1]. "hugectr": DES, CATCOLUMN and ROWINDEX, as clients of HugeCTR\'s inference '
        "backend send them.",
        Flag(
            "--interface",
            "{padded,csr,hugectr}",
            help="how keys come in: padded to [N, slot, nnz] (default); csr: TOP [K] and TOP.offsets [N * slot_num + 1]; "
            "hugectr: DES, CATCOLUMN and ROWINDEX",
        ),
    )
    padding_key: int | None = option(
        None,
        checks.key,
        "model",
        "The one key that pads a slot; every other 64-bit number, negative ones too, is then a key. None: any negative key is "
        "padding, and a table that holds negative keys is refused.",
        Flag(
            "--padding-key",
            "K",
            parse=flag_text.integer,
            help="the one key that pads a slot: every other number, negative ones too, is then a key",
        ),
    )
    embedding: PerTable = option(
        "fp32",
        checks.row_formats,
        "tables",
        'The format of the tables\' rows, for all or {embedding top: format}: "fp32", "fp16", or "int8" with a scale for '
        "each row (see `tables.row_format`; `report.stored` has the errors).",
        Flag(
            "--embedding",
            "[TOP=]FORMAT",
            collect=flag_text.per_table,
            help="the format of the rows: fp32, fp16, int8 (default fp32); TOP may be a table of an EmbeddingCollection",
        ),
        is_recorded_by_default=True,
    )
    keep_keys: Mapping[str, object] = option(
        None,
        checks.kept_keys,
        "tables",
        "{embedding top, or table of an EmbeddingCollection: keys that will be asked for}: an array, a raw int64 file, an "
        ".npy file, FILE.parquet::COLUMN, or a list of files. All other rows are dropped.",
        Flag(
            "--keep-keys",
            "TOP=FILE",
            parse=flag_text.named_file,
            collect=flag_text.lists_by_name,
            help="drop the rows of all keys but these: int64 file, .npy, or FILE.parquet::COLUMN; several files for one TOP "
            "are united; keys are those of the key file, with the offsets of --slot-size-array added; TOP may be a table of "
            "an EmbeddingCollection",
        ),
        names_files=True,
        is_recorded_by_default=True,
    )
    keys: PerTable = option(
        "auto",
        checks.key_maps,
        "lookups",
        'How keys find their rows, for all tables or {embedding top: ...}: "auto", "direct", "label-encoder", '
        '"perfect-hash" or "indices" (see `passes.lookups.choose_key_map`). Below level 2 "auto" is a LabelEncoder.',
        Flag(
            "--keys",
            "[TOP=]STRATEGY",
            collect=flag_text.per_table,
            help="how keys find their rows: auto, direct, label-encoder, perfect-hash, indices (default auto)",
        ),
        is_recorded_by_default=True,
    )
    default_embedding: DefaultVectors = option(
        None,
        checks.default_vectors,
        "tables",
        "What every number of the vector of an unknown key is, for all tables or {embedding top, or table of an "
        "EmbeddingCollection: number}; or the ps.json of an HPS deployment (PS.json::MODEL where it holds several models), "
        "whose tables are told by name, else by order. Without it the graph JSON's default_emb_vec_value, usually 0.",
        Flag(
            "--default-embedding",
            "[TOP=]NUMBER",
            collect=flag_text.numbers_per_table,
            help="the vector of unknown keys: a number, for all tables or one; or the ps.json of an HPS deployment "
            "(PS.json::MODEL where it holds several models)",
        ),
    )
    precision: PerLayer = option(
        "fp32",
        checks.precisions,
        "result",
        'How products are computed, for all layers or {layer: ..., "*": all others}: "fp32", "int8" where a product is large '
        'enough to gain, "int8-row" where also no row may depend on the rows beside it, or "auto", which searches what is '
        "fastest within a quality budget (`compile_measured`). A layer that is named gets what is given (see "
        "`passes.precision.quantize_products`; `report.products` has the errors).",
        Flag(
            "--precision",
            "FORMAT,[LAYER=FORMAT]",
            collect=flag_text.per_layer,
            help="how products are computed: fp32, int8, int8-row, or auto within --budget (default fp32); int8,fc3=fp32 for "
            "one layer",
        ),
    )
    cpu: str = option(
        "any",
        checks.cpu,
        "result",
        'The processors that an int8 product is for: "any", or "vnni", whose weights have all 8 bits and give wrong answers on '
        "processors that add products of bytes in 16 bits (AVX2 without VNNI).",
        Flag("--cpu", "{any,vnni}", help="the processors that int8 products are for (default any)"),
    )
    graph_name: str = option(
        "hugectr",
        checks.printable,
        "result",
        "The name of the ONNX graph.",
        Flag("--graph-name", "NAME"),
    )
    opset: int = option(
        17,
        checks.one_of(OPSETS),
        "result",
        "The least opset of the ONNX operators; an operator of level 3 may need 23.",
        Flag("--opset", "N", parse=flag_text.integer),
        is_recorded_by_default=True,
    )
    simplify: bool = option(
        True,
        checks.boolean,
        "result",
        "Run onnxsim, from level 1 up; its result is taken only if it passes the parity check.",
        Flag("--no-simplify", constant=False, help="do not run onnxsim"),
        is_recorded_by_default=True,
    )
    check: bool = option(
        True,
        checks.boolean,
        "result",
        "Compare the result with the float64 reference.",
        Flag("--no-check", constant=False, help="do not compare the result with the float64 reference"),
        is_recorded=False,
    )
    validate: bool = option(
        False,
        checks.boolean,
        "result",
        "Also evaluate before and after every pass; slow.",
        Flag("--validate", constant=True),
        is_recorded=False,
    )
    max_memory: int | None = option(
        None,
        checks.bytes_allowed,
        "result",
        "The bytes of memory that compiling may take beyond its imports and mapped files. A model that is forecast to take "
        "more is refused before the work.",
        Flag("--max-memory", "2GB", parse=flag_text.byte_count),
        is_recorded=False,
    )
    dump: str | os.PathLike[str] | None = option(
        None,
        checks.path,
        "result",
        "A folder for the IR after every pass that changed it, as numbered texts.",
        Flag("--dump-ir", "FOLDER"),
        is_recorded=False,
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            given = getattr(self, field.name)
            if given is field.default and given is not None:
                continue  # a check of the default would only import what knows the other values
            try:
                value = describe(field).check(given, field.name)
            except OptionError as error:
                error.options = (field.name, *error.options)
                raise
            object.__setattr__(self, field.name, value)

    def changed(self, **changes: Any) -> Options:
        """Return a copy with other values. Raises TypeError for a name that is not an option."""
        known = [name for name, _ in descriptions()]
        for name in changes:
            if name not in known:
                raise TypeError(f"{name!r} is not an option: {nearest(name, known)}")
        return dataclasses.replace(self, **changes)

    def to_metadata(self, read: Mapping[str, object] | None = None) -> str:
        """Tell what a model records of the options, as JSON; `read` replaces the values that name files.

        It holds no path, so that the same inputs give the same bytes.
        """
        values = {
            name: getattr(self, name)
            for name, described in descriptions()
            if described.is_recorded
            and (described.is_recorded_by_default or getattr(self, name) != getattr(type(self), name))
        }
        for name, described in descriptions():
            if described.names_files and values.get(name):
                values[name] = (read or {}).get(name)
        return json.dumps(values, sort_keys=True, default=str)

    @staticmethod
    def from_metadata(text: str | None) -> Options:
        """Return the options that a model records; the defaults for what it does not record, and for files that it was made of.

        Raises FeedError for a text that `to_metadata` cannot have written.
        """
        described = dict(descriptions())
        known = {name: each for name, each in described.items() if each.is_recorded and not each.names_files}
        values = {name: value for name, value in recorded(text).items() if name in known}
        try:
            return Options(**values)
        except OptionError as error:
            raise FeedError(f"the metadata {METADATA_KEY} was changed: {error}") from error

    @staticmethod
    def from_manifest(
        path: str | os.PathLike[str], model: str | None = None, *, prefer: str | None = None, **changes: Any
    ) -> Options:
        """Return the options that a saved model was made with, from the manifest.json beside it, with `changes`.

        model: its file name; may be left out where the manifest has one model. prefer: the name that is taken, where it is
        there, without `model`. Keys to keep and the description of an EmbeddingCollection are recorded by what they held,
        not by where they lay: give them again. Raises OptionError, and FeedError for a file that is not a manifest.
        """
        models = _models(os.fspath(path))
        name = model or (prefer if prefer in models else None) or next(iter(models), "")
        if name not in models or (len(models) > 1 and not model and name != prefer):
            raise OptionError(
                f"{os.fspath(path)}: has the models {', '.join(models)[:500] or 'none'}; name one of them",
                option="options",
            )
        metadata = models[name].get(METADATA_KEY) if isinstance(models[name], dict) else None
        if not isinstance(metadata, str):
            raise FeedError(f"{os.fspath(path)}: does not say with which options {name} was made")
        for option_name, described in descriptions():
            if described.names_files and recorded(metadata).get(option_name) and option_name not in changes:
                raise OptionError(
                    f"{name} was made with ",
                    Setting(option_name),
                    ", which its manifest cannot name: give it again",
                )
        return Options.from_metadata(metadata).changed(**changes)


def _models(path: str) -> dict[str, Any]:
    """Return the metadata of each model in a manifest."""
    from hugectr2onnx.frontend.graph_json import json_text

    manifest = json_text.load(path, FeedError)
    models = manifest.get("models") if isinstance(manifest, dict) else None
    if not isinstance(models, dict):
        raise FeedError(f"{path}: is not the manifest.json of a compiled model")
    return {name: entry.get("metadata") if isinstance(entry, dict) else None for name, entry in models.items()}


def descriptions() -> Iterator[tuple[str, Description]]:
    """(name, description) of each option."""
    return ((field.name, describe(field)) for field in dataclasses.fields(Options))


def recorded(text: str | None) -> dict[str, Any]:
    """Return the recorded values as they stand, digests of files among them; empty where nothing is recorded."""
    from hugectr2onnx.frontend.graph_json import json_text

    values = json_text.parse(text, f"the metadata {METADATA_KEY}", FeedError) if text is not None else {}
    if not isinstance(values, dict):
        raise FeedError(f"the metadata {METADATA_KEY} is not an object: the file was changed")
    return values
