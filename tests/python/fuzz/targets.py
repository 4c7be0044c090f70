"""All targets of fuzzing."""

from __future__ import annotations

from fuzz import bindings, data_files, doors, model_files, result_files

TARGETS = (
    *data_files.TARGETS,
    *result_files.TARGETS,
    *model_files.TARGETS,
    *doors.TARGETS,
    *bindings.TARGETS,
)
