"""The same four ratings of two users in each layout, as its publisher writes it."""

from pathlib import Path

RATINGS = [("1", "10", 5, 881250949), ("1", "20", 3, 881250950), ("2", "10", 1, 881250951), ("2", "20", 4, 881250949)]


def ml_100k(folder: Path) -> Path:
    flags = {"10": "0|1|0|1", "20": "0|0|0|1"}
    return _written(
        folder,
        {
            "u.data": "".join(f"{user}\t{item}\t{rating}\t{ts}\n" for user, item, rating, ts in RATINGS),
            "u.user": "1|24|M|technician|85711\n2|53|F|other|94043\n",
            "u.item": f"10|Misérables, Les (1995)|01-Jan-1995||http://x|{flags['10']}\n"
            f'20|"Quoted" (1996)|01-Jan-1996||http://y|{flags["20"]}\n',
            "u.genre": "unknown|0\nAction|1\nChildren's|2\nDrama|3\n\n",
        },
        "latin-1",
    )


def ml_1m(folder: Path) -> Path:
    return _written(
        folder,
        {
            "ratings.dat": "".join(f"{user}::{item}::{rating}::{ts}\n" for user, item, rating, ts in RATINGS),
            "users.dat": "1::M::24::technician::85711\n2::F::53::other::94043\n",
            "movies.dat": '10::Misérables, Les (1995)::Action|Drama\n20::"Quoted" (1996)::Drama\n',
        },
        "latin-1",
    )


def recbole(folder: Path) -> Path:
    ratings = "".join(f"{user}\t{item}\t{rating}\t{ts}\n" for user, item, rating, ts in RATINGS)
    return _written(
        folder,
        {
            "ml.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + ratings,
            "ml.user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
            "1\t24\tM\ttechnician\t85711\n2\t53\tF\tother\t94043\n",
            "ml.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            '10\tMisérables, Les (1995)\t1995\tAction Drama\n20\t"Quoted" (1996)\t1996\tDrama\n',
        },
        "utf-8",
    )


LAYOUTS = {"ml-100k": ml_100k, "ml-1m": ml_1m, "recbole": recbole}


def _written(folder: Path, files: dict[str, str], encoding: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding=encoding)
    return folder
