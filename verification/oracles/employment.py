"""The rows of NannyML's bundled data set of employment in Massachusetts: predictions, labels, sex, race and year."""

import nannyml
import pandas as pd
from protocol import answer

COLUMNS = ["SEX", "RAC1P", "employed", "prediction", "predicted_probability", "year"]


def rows(question):
    """Return these columns of all rows, and ``more`` columns."""
    columns = [*COLUMNS, *question.get("more", ())]
    reference, analysis, labels = nannyml.load_us_census_ma_employment_data()
    both = pd.concat([reference[columns], analysis.merge(labels, on="id")[columns]])
    return {name: both[name].tolist() for name in columns}


if __name__ == "__main__":
    answer(rows, ("nannyml",))
