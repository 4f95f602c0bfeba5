"""The rows of NannyML's bundled data set of employment in Massachusetts: predictions, labels, sex, race and year."""

import nannyml
import pandas as pd
from protocol import answer

COLUMNS = ["SEX", "RAC1P", "employed", "prediction", "predicted_probability", "year"]


def rows(_):
    reference, analysis, labels = nannyml.load_us_census_ma_employment_data()
    both = pd.concat([reference[COLUMNS], analysis.merge(labels, on="id")[COLUMNS]])
    return {name: both[name].tolist() for name in COLUMNS}


answer(rows, ("nannyml",))
