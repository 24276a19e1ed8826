"""Which form a model has, by its configuration, and with which class of transformers it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.engines.preset import FORMS, Form
from harness.errors import ModelUnavailable
from harness.specs import Task

AUTO_CLASSES: Mapping[Form, str] = {
    "causal": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "captioner": "AutoModelForImageTextToText",
    "classifier": "AutoModelForSequenceClassification",
    "tagger": "AutoModelForTokenClassification",
    "answer-finder": "AutoModelForQuestionAnswering",
    "mask-filler": "AutoModelForMaskedLM",
    "image-classifier": "AutoModelForImageClassification",
    "detector": "AutoModelForObjectDetection",
}


def form_of(config: Any, task: Task, model_id: str) -> Form:
    """The form in which a pretrained model does a task.

    Told by the class that its configuration names, since one type of model has many heads. A class that no table of
    transformers knows (code of the model's own, a bare encoder) is tried where the type has the form at all: its
    missing weights are found when it is loaded.

    Raises:
        ModelUnavailable: It cannot do the task.
    """
    wanted = FORMS[task]
    classes = tuple(getattr(config, "architectures", None) or ())
    known: list[Form] = [form for form in AUTO_CLASSES if set(classes) & set(_classes(form).values())]
    for form in wanted:
        if form in known:
            return form
    own_code = getattr(config, "auto_map", None) or {}
    for form in wanted:
        if AUTO_CLASSES[form] in own_code or (not known and config.model_type in _classes(form)):
            return form
    raise ModelUnavailable(
        f"{model_id} cannot do {task}: it is a {', '.join(classes) or config.model_type}.",
        f"{_does(known)}For {task} choose a model that transformers loads with "
        f"{' or '.join(AUTO_CLASSES[form] for form in wanted)}.",
    )


def _does(known: list[Form]) -> str:
    tasks = [task for task, forms in FORMS.items() if set(forms) & set(known)]
    return f"It does {', '.join(tasks)}. " if tasks else ""


def _classes(form: Form) -> Mapping[str, str]:
    """Types of models that have a form -> the class."""
    from transformers.models.auto import modeling_auto

    table: Mapping[str, Any] = getattr(modeling_auto, _TABLES[form])
    return {name: value if isinstance(value, str) else value[0] for name, value in table.items()}


_TABLES: Mapping[Form, str] = {
    "causal": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "seq2seq": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "captioner": "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    "classifier": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "tagger": "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES",
    "answer-finder": "MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES",
    "mask-filler": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "image-classifier": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "detector": "MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES",
}
