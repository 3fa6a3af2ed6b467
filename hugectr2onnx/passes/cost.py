"""Tell which of two equal forms is faster: every tuned threshold of the passes, and the questions that passes ask.

A threshold holds for onnxruntime's CPU. All were measured with onnxruntime 1.32 and one thread on two cores of a virtual AMD
EPYC, the two forms in turn; `python -m benchmarks thresholds` measures them again. Another onnxruntime, or another machine,
may want other numbers here, and nothing else has to change for it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    """A number from which on one form beats another.

    unit: what is counted. below, above: the form that is faster on that side.
    """

    value: float
    unit: str
    below: str
    above: str

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"


MIN_COLUMN_READS = Threshold(
    480, "values read per sample, for each Reshape that it takes", "a product [N, 1]", "a product [1, N] and Reshapes"
)
MAX_SPLIT_COLUMNS = Threshold(16, "columns of one product", "rows that a Split takes apart", "columns")
MIN_RECURRENCE_STEPS = Threshold(6, "operations of a recurrence", "the operations", "one sum of products")
MAX_RECURRENCE_FACTORS = Threshold(16, "factors of a recurrence", "one sum of products", "the operations")
MIN_BATCHED_PRODUCTS = Threshold(6, "products of a weight and an expert", "the products", "one product per sample")
MAX_BATCHED_PRODUCTS = Threshold(256, "products of a weight and an expert", "one product per sample", "the products")
MAX_FLATTENED_VALUES = Threshold(512, "values of the result per sample", "a Gemm between Reshapes", "MatMul and Add")
MAX_MERGED_WIDTH = Threshold(8, "columns of each product", "one product and a Split", "the products")
MIN_MERGED_OPERAND = Threshold(64, "columns of the shared operand", "the products", "one product and a Split")
MAX_MERGED_COLUMNS = Threshold(64, "columns of the merged product", "one product and a Split", "several of them")
MIN_NARROW_RATIO = Threshold(
    4, "columns of the operand per column of the result", "a product of joined columns", "a sum"
)
MAX_DISTRIBUTED_PARTS = Threshold(3, "joined operands of a narrow product", "a sum of products", "a product")
MIN_BROADCAST_REPEATS = Threshold(8, "repetitions of each column", "copies", "a broadcast")
MIN_SHARED_REPEATS = Threshold(4, "repetitions of each row", "a product of the copies", "a product that is repeated")
MAX_SHARED_PRODUCTS = Threshold(
    3, "products beside the repeated one", "a sum of products", "a product of joined columns"
)
MIN_REJOINED_COLUMNS = Threshold(16, "columns of the product", "columns that are joined once", "features joined again")
MAX_UNIT_LENGTH_COLUMNS = Threshold(64, "columns of the normalization", "a division by a length", "LayerNormalization")
MAX_MACHINE_WIDTH = Threshold(12, "values per slot", "a product that adds up slots", "a reduction")
MAX_FEATURE_MACHINE_WIDTH = Threshold(
    16, "values per slot, some of features", "a product that adds up slots", "a reduction"
)
MAX_TAKEN_RATIO = Threshold(1.1, "products taken per product needed", "taking runs of neighbours", "taking one by one")
MAX_NARROW_HEAD = Threshold(16, "values per head", "steps moved to the end", "heads moved to the front")
MAX_NARROW_SEQUENCE = Threshold(
    512, "values of a head per sample", "steps moved to the end", "heads moved to the front"
)
MULTIPLICATIONS_PER_HEAD = Threshold(
    20_000, "further multiplications per head", "heads stacked as rows", "a product per head"
)
MULTIPLICATIONS_PER_VALUE = Threshold(
    64, "further multiplications per value that need not move", "heads stacked as rows", "a product per head"
)
MIN_INT8_WEIGHTS = Threshold(32_768, "weights of a product", "a product of floats", "a product of bytes")
MIN_ROW_INT8_WEIGHTS = Threshold(
    150_000, "weights of a product", "a product of floats", "a product of bytes with a scale for each row"
)
MIN_INT8_COLUMNS = Threshold(48, "columns of a product", "a product of floats", "a product of bytes")


def is_worth_transposing(values_read: int, reshapes: float) -> bool:
    """Tell whether a column [N, 1] of products that read so many values is faster as a row, for so many Reshapes."""
    return values_read >= MIN_COLUMN_READS.value * (1 + reshapes)


def is_worth_splitting_rows(columns: int) -> bool:
    """Tell whether the columns of one product may become rows of which each goes its own way."""
    return columns <= MAX_SPLIT_COLUMNS.value


def is_worth_expanding(steps: int, factors: int) -> bool:
    """Tell whether a recurrence of so many operations is faster as a sum of products of its factors."""
    return steps >= MIN_RECURRENCE_STEPS.value and factors <= MAX_RECURRENCE_FACTORS.value


def is_worth_batching(products: int) -> bool:
    """Tell whether so many products of a weight and an expert's matrix are faster as one product for each sample."""
    return MIN_BATCHED_PRODUCTS.value <= products <= MAX_BATCHED_PRODUCTS.value


def is_worth_flattening(result_values: float) -> bool:
    """Tell whether a linear on [N, s, k] with so many result values per sample is faster as a Gemm on [N s, k]."""
    return result_values <= MAX_FLATTENED_VALUES.value


def is_worth_merging(operand_columns: int, columns: int) -> bool:
    """Tell whether a product with so many columns is worth merging with others of the same operand."""
    return columns <= MAX_MERGED_WIDTH.value and operand_columns >= MIN_MERGED_OPERAND.value


def fits_merged_product(columns: int) -> bool:
    """Tell whether so many columns still belong into one merged product."""
    return columns <= MAX_MERGED_COLUMNS.value


def is_narrow_product(operand_columns: int, columns: int) -> bool:
    """Tell whether reading its operand is what a product costs, so that copying the operand first does not pay."""
    return columns * MIN_NARROW_RATIO.value <= operand_columns


def is_worth_distributing(parts: int) -> bool:
    """Tell whether a narrow product of so many joined operands is faster as a sum of products."""
    return parts <= MAX_DISTRIBUTED_PARTS.value


def is_worth_broadcasting(repeats: int) -> bool:
    """Tell whether columns that repeat so often are faster broadcast than copied."""
    return repeats >= MIN_BROADCAST_REPEATS.value


def is_worth_sharing(repeats: int) -> bool:
    """Tell whether a row that repeats so often is worth a product of its own before it is repeated."""
    return repeats >= MIN_SHARED_REPEATS.value


def is_worth_splitting_product(products: int) -> bool:
    """Tell whether so many products beside the repeated one are faster than one product of joined columns."""
    return products <= MAX_SHARED_PRODUCTS.value


def is_worth_joining_again(columns: int) -> bool:
    """Tell whether a product with so many columns pays for joining its features a second time."""
    return columns >= MIN_REJOINED_COLUMNS.value


def is_worth_unit_length(columns: int) -> bool:
    """Tell whether a layer normalization of so many columns is faster as a division by a length."""
    return 1 < columns <= MAX_UNIT_LENGTH_COLUMNS.value


def is_worth_adding_by_product(width: int, *, features: bool) -> bool:
    """Tell whether a product adds up slots of so many values faster; a reduction must multiply `features` first."""
    return width <= (MAX_FEATURE_MACHINE_WIDTH if features else MAX_MACHINE_WIDTH).value


def is_worth_taking(taken: int, needed: int) -> bool:
    """Tell whether taking so many products in runs costs less than taking the needed ones by themselves."""
    return taken <= MAX_TAKEN_RATIO.value * needed


def is_worth_moving_steps(head_width: int, *steps: int) -> bool:
    """Tell whether heads of this width over so many steps are faster with the steps moved to the end."""
    return head_width <= MAX_NARROW_HEAD.value and head_width * max(steps) <= MAX_NARROW_SEQUENCE.value


def is_worth_stacking(multiplications: int, heads: int, values: int) -> bool:
    """Tell whether stacked heads are worth so many more multiplications, for so many values that need not be moved."""
    return multiplications <= MULTIPLICATIONS_PER_HEAD.value * heads + MULTIPLICATIONS_PER_VALUE.value * values


def is_worth_int8(rows: int, columns: int, *, by_row: bool = False) -> bool:
    """Tell whether a product with a weight of this shape is faster in bytes, at a batch of one and above.

    by_row: each row of the operand has a scale of its own, which costs more.
    """
    weights = MIN_ROW_INT8_WEIGHTS if by_row else MIN_INT8_WEIGHTS
    return rows * columns >= weights.value and columns >= MIN_INT8_COLUMNS.value
