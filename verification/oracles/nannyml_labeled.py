"""Features and labels of the real tables that NannyML comes with: employment in Massachusetts, Californian housing."""

import nannyml
import pandas as pd
from protocol import answer

OTHER = ["id", "timestamp", "year", "prediction", "predicted_probability", "y_pred", "y_pred_proba"]


def tables(question):
    """Return the columns of each table, at most ``rows`` of its rows, in a random order; the label is 'label'."""
    reference, analysis, labels = nannyml.load_us_census_ma_employment_data()
    employment = pd.concat([reference, analysis.merge(labels, on="id")]).rename(columns={"employed": "label"})
    reference, analysis, labels = nannyml.load_modified_california_housing_dataset()
    housing = pd.concat([reference, analysis.merge(labels, on="id")]).rename(columns={"clf_target": "label"})
    return {
        name: {
            column: cells.tolist()
            for column, cells in table.drop(columns=[each for each in OTHER if each in table])
            .sample(min(question["rows"], len(table)), random_state=0)
            .items()
        }
        for name, table in (("employment", employment), ("housing", housing))
    }


if __name__ == "__main__":
    answer(tables, ["nannyml"])
