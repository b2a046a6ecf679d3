"""The nine classes of Habeeb & Goyal 2024: what belongs to them in PTB-XL, as published and corrected, and in CPSC2018."""

from __future__ import annotations

from ecglens.examples.diagnosis_map import DiagnosisMap, table_named
from ecglens.recordings.challenge_header import cpsc_table

NINE = {
    "SNR": "normal sinus rhythm",
    "AF": "atrial fibrillation",
    "IAVB": "first degree AV block",
    "LBBB": "left bundle branch block",
    "RBBB": "right bundle branch block",
    "PAC": "premature atrial contraction",
    "PVC": "premature ventricular contraction",
    "STD": "ST depression",
    "STE": "ST elevation",
}


def nine_class_maps(known: DiagnosisMap) -> tuple[DiagnosisMap, ...]:
    """PTB-XL's statements as published and corrected, and CPSC2018's labels, to the same nine classes.

    known: the map that knows the codes and words of the Challenge 2020 and of CPSC2018.
    """
    rows, snomed = table_named("habeeb2024_scp"), table_named("habeeb2024_snomed")
    none = {row["statement"]: "" for row in table_named("scp")}  # those of the column heart_axis too
    unsure = {each: [row["statement"] for row in rows if row["certainty"] == each] for each in ("medium", "low")}

    def texts(key: str) -> dict[str, str]:
        return {row["statement"]: row[key] for row in rows}

    return (
        DiagnosisMap(
            "habeeb2024-as-published",
            none | {row["statement"]: row["published"] if row["published"] in NINE else "" for row in rows},
            NINE,
            {},
            "Habeeb & Goyal 2024, recovered from their counts and notebooks: their own table is not published",
            (
                "Only statements with a likelihood above 0 count, and PTB-XL gives rhythms and forms 0 by design: 48 of its "
                "1514 records with AFIB count and 37 of 398 with PAC; sinus rhythm, STD_ and STE_ never do.",
                "PAC is paced rhythm: 287 of its 324 records have a pacemaker (PACE), 37 a premature atrial beat.",
                "SNR, 'normal sinus rhythm', takes NORM and also hypertrophy, ischaemia and T wave changes (LVH, LAO/LAE, "
                "ISC_, ISCAL, NDT), whatever the rhythm: a third of its records are not normal.",
                "AF takes flutter, WPW and PSVT; IAVB every degree of AV block, and IVCD; LBBB takes LAFB, three quarters of "
                "the class; RBBB takes the incomplete one, two thirds, and LPFB.",
                "STD takes unspecific ST changes and anteroseptal ischaemia, STE takes infarction of any age and injury below "
                "the endocardium, which as a rule depresses the ST segment: neither is what CPSC2018 means.",
                "11 statements are left out as 'not remotely close'; a record with nothing else has no class and was dropped.",
                f"Recovered with medium certainty: {', '.join(unsure['medium'])}; with low: {', '.join(unsure['low'])}.",
            ),
            above=0.0,
            beside={"certainty": texts("certainty"), "how it was recovered": texts("evidence")},
        ),
        DiagnosisMap(
            "habeeb2024",
            none | texts("corrected"),
            NINE,
            {},
            "ours: a statement of PTB-XL counts where it says what CPSC2018's label says (tables/habeeb2024_scp.csv)",
            (
                "SNR is 'normal ECG' (NORM) in sinus rhythm (SR) where no other of the nine holds, as CPSC2018 says Normal "
                "alone. Infarction or hypertrophy in sinus rhythm, and a normal ECG with sinus tachycardia, bradycardia or "
                "arrhythmia, are of no class: negative for all nine.",
                "A statement counts whatever its likelihood: 0 is how PTB-XL marks rhythms and forms; but a few of NORM and "
                "1AVB are called improbable (15 % and less).",
                "Flutter (AFLT), higher AV blocks, incomplete and fascicular blocks (ILBBB, IRBBB, LAFB, LPFB), IVCD, paced "
                "rhythm and premature beats of unknown origin are of no class; CPSC2018 does not say whether its LBBB and "
                "RBBB are complete.",
                "STD and STE are PTB-XL's statements of form, said where someone thought of it; STE_ is so rare that STE can "
                "hardly be measured.",
            ),
            only={"SNR": ("SR", "NORM")},
            beside={"why": texts("reason")},
        ),
        DiagnosisMap(
            "habeeb2024-from-snomed",
            dict.fromkeys(known.codes, "")
            | {row["code"]: row["class"] for row in snomed}
            | {row["number"]: name for row, name in zip(cpsc_table(), NINE, strict=True)},
            NINE,
            known.short,
            "CPSC2018's nine labels as its numbers, its words or the Challenge 2020's codes",
            (
                "RBBB and LBBB do not say whether the block is complete; CRBBB counts as RBBB.",
                "PAC takes SVPB, and PVC the codes 164884008 (CPSC2018's), 17338001 and 427172004: the same by other names.",
                "SNR is CPSC2018's Normal, which stands alone there; in other databases of the Challenge sinus rhythm stands "
                "beside other diagnoses, and SNR is not 'normal'.",
            ),
            known.words,
            beside={"why": {row["code"]: row["reason"] for row in snomed}},
        ),
    )  # fmt: skip
