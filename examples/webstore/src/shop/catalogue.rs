use serde::Serialize;

/// Something that the shop sells.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Product {
    pub(crate) id: u32,
    pub(crate) name: &'static str,
    /// In US cents, the same in every country.
    pub(crate) price: u32,
}

/// Everything on sale, by id from 1.
pub(crate) static PRODUCTS: [Product; 12] = [
    item(1, "Ceramic mug", 1_250),
    item(2, "French press", 3_490),
    item(3, "Pour-over kettle", 6_900),
    item(4, "Burr grinder", 12_900),
    item(5, "Espresso beans, 1 kg", 2_450),
    item(6, "Filter papers, 100", 595),
    item(7, "Milk pitcher", 1_890),
    item(8, "Kitchen scale", 4_200),
    item(9, "Travel flask", 2_995),
    item(10, "Tea towel", 850),
    item(11, "Espresso machine", 64_900),
    item(12, "Cleaning tablets, 20", 1_100),
];

const fn item(id: u32, name: &'static str, price: u32) -> Product {
    Product { id, name, price }
}

/// The product with this id, if the shop sells it.
pub(crate) fn product(id: u32) -> Option<&'static Product> {
    PRODUCTS.iter().find(|product| product.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_from_one() {
        assert!(PRODUCTS.iter().map(|product| product.id).eq(1..=12));
    }

    #[test]
    fn every_product_has_a_name_and_a_price() {
        assert!(
            PRODUCTS
                .iter()
                .all(|product| !product.name.is_empty() && product.price > 0)
        );
    }

    #[test]
    fn an_id_finds_its_product_and_no_other() {
        assert_eq!(product(11).unwrap().name, "Espresso machine");
        assert_eq!(product(0), None);
        assert_eq!(product(13), None);
    }
}
