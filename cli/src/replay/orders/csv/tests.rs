use proptest::prelude::*;

use super::*;

const HEAD: &str = "order_id,customer_id,at,amount,currency";

type Read = (String, String, u64, i64);

/// The orders of a file, or what is wrong and on which line.
fn read(file: &[u8]) -> Result<Vec<Read>, (u64, String)> {
    let mut records = Records::default();
    let mut orders = Vec::new();
    for (line, number) in file.split(|&byte| byte == b'\n').zip(1..) {
        let begins = records.begins(number);
        let order = records.line(line, number, Currency::USD).map(|order| {
            order.map(|order| {
                let (id, customer) = (order.id.to_owned(), order.customer.to_owned());
                (id, customer, order.at.as_millis(), order.amount)
            })
        });
        match order {
            Ok(order) => orders.extend(order),
            Err(wrong) => return Err((begins, wrong.to_string())),
        }
    }
    let begins = records.begins(1);
    records.end().map_err(|wrong| (begins, wrong.to_string()))?;
    Ok(orders)
}

fn wrong(rows: &str) -> (u64, String) {
    read(format!("{HEAD}\n{rows}").as_bytes()).unwrap_err()
}

#[test]
fn reads_plain_and_quoted_fields() {
    let file = format!(
        "\u{feff}{HEAD}\r\no1,ada,1998-07-01,11.77,USD\r\n\r\n\
         \"o,2\",\"Ada \"\"L\"\"\",\"1998-07-01T02:00:00+02:00\",\"500\",usd\n"
    );
    assert_eq!(
        read(file.as_bytes()).unwrap(),
        [
            ("o1".into(), "ada".into(), 899_251_200_000, 1_177),
            ("o,2".into(), "Ada \"L\"".into(), 899_251_200_000, 50_000),
        ]
    );
    assert_eq!(read(HEAD.as_bytes()), Ok(vec![]));
}

#[test]
fn says_what_is_wrong_and_where_the_record_begins() {
    for (rows, line, says) in [
        ("o1,ada,1998-07-01,11.77", 2, "five fields"),
        ("o1,ada,1998-07-01,11.77,USD,", 2, "five fields"),
        (
            "o1,ada,1998-02-30,11.77,USD",
            2,
            "`at` cannot be `1998-02-30`: allowed is a date",
        ),
        ("o1,ada,1969-12-31,11.77,USD", 2, "from 1970 on"),
        (
            "o1,ada,1998-07-01,-11.77,USD",
            2,
            "`amount` cannot be `-11.77`",
        ),
        (
            "o1,ada,1998-07-01,11.77,EUR",
            2,
            "`currency` cannot be `EUR`: allowed is `USD`",
        ),
        (",ada,1998-07-01,11.77,USD", 2, "`order_id` cannot be ``"),
        (
            "o1,a\0,1998-07-01,11.77,USD",
            2,
            r"`customer_id` cannot be `a\x00`",
        ),
        (
            "o1,a\"b,1998-07-01,11.77,USD",
            2,
            "quotes only around a whole field",
        ),
        (
            "o1,\"a\"b,1998-07-01,11.77,USD",
            2,
            "a comma after the closing quote",
        ),
        // The line break is part of the id, which may hold none.
        (
            "o1,\"a\nb\",1998-07-01,11.77,USD",
            2,
            r"`customer_id` cannot be `a\nb`",
        ),
        (
            "\no1,\"a\nb,1998-07-01,11.77,USD",
            3,
            "closes before the file ends",
        ),
    ] {
        let (at, wrong) = wrong(rows);
        assert!(wrong.contains(says), "{rows}: {wrong}");
        assert_eq!(at, line, "{rows}");
    }
    let (_, unclosed) = wrong(&format!("\"{}", "x\n".repeat(100_000)));
    assert!(unclosed.contains("closes within 64 KiB"), "{unclosed}");
    let (line, header) = read(b"id,customer\n").unwrap_err();
    assert_eq!(line, 1);
    assert!(
        header.contains("allowed is the header `order_id,customer_id,at,amount,currency`"),
        "{header}"
    );
    assert!(read(b"").unwrap_err().1.contains("the header"));
}

proptest! {
    #[test]
    fn what_is_quoted_comes_back(ids in prop::collection::vec("[ -~äß]{1,20}", 1..6)) {
        let mut file = HEAD.to_owned();
        for id in &ids {
            let quoted = id.replace('"', "\"\"");
            file.push_str(&format!("\n\"{quoted}\",\"{quoted}\",2000-01-01,1,USD"));
        }
        let read = read(file.as_bytes()).unwrap();
        let both: Vec<_> = read.iter().map(|(order, customer, ..)| (order, customer)).collect();
        prop_assert_eq!(both, ids.iter().map(|id| (id, id)).collect::<Vec<_>>());
    }

    #[test]
    fn no_file_panics(file in prop::collection::vec(prop::sample::select(&b"\",\n\r\0ab1.-\xff"[..]), 0..200)) {
        let _ = read(&file);
        let _ = read(&[HEAD.as_bytes(), b"\n", &file].concat());
    }
}
