"""Data nouns: interactions, features, datasets, tasks, splits, readers and named public sets."""

from acclimate.data.dataset import Dataset
from acclimate.data.features import FeatureTable, Field, Items, Kind, infer_field
from acclimate.data.interactions import Interactions
from acclimate.data.split import (
    Split,
    by_time,
    four_states,
    leave_last_out,
    new_items,
    new_users,
    new_users_and_items,
    user_tasks,
)
from acclimate.data.synthetic import World, synthetic_world
from acclimate.data.tasks import Feedback, TaskBatch, Tasks, TaskSampler, make_tasks, sample_tasks
from acclimate.data.vocabulary import Vocabulary

__all__ = [
    "Dataset",
    "FeatureTable",
    "Feedback",
    "Field",
    "Interactions",
    "Items",
    "Kind",
    "Split",
    "TaskBatch",
    "TaskSampler",
    "Tasks",
    "Vocabulary",
    "World",
    "by_time",
    "four_states",
    "infer_field",
    "leave_last_out",
    "make_tasks",
    "new_items",
    "new_users",
    "new_users_and_items",
    "sample_tasks",
    "synthetic_world",
    "user_tasks",
]
