"""The data sets that NannyML bundles."""

import nannyml


def tables(name):
    """Return the reference and analysis rows of a data set, with the columns to compare."""
    if name == "car_loan":
        reference, analysis, _ = nannyml.load_synthetic_car_loan_dataset()
        left_out = {"id", "timestamp", "repaid", "y_pred"}
    elif name == "employment":
        reference, analysis, _ = nannyml.load_us_census_ma_employment_data()
        left_out = {"id", "timestamp", "employed", "prediction"}
    else:
        reference, analysis, _ = nannyml.load_modified_california_housing_dataset()
        left_out = {"id", "timestamp", "clf_target", "y_pred"}
    columns = [name for name in analysis.columns if name in reference.columns and name not in left_out]
    return reference[columns], analysis[columns]
