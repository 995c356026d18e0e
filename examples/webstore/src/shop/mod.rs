//! The shop itself: what it sells, what lies in whose cart, what has been ordered. No HTTP here.
//!
//! Everything lives in memory and is bounded: [`MAX_CARTS`] carts and [`MAX_ORDERS`] orders, of at most one line
//! per product each. Beyond that the least recently used one is forgotten: an abandoned cart, or the record by
//! which a repeat of a long-past order would be recognised.

mod cart;
mod catalogue;
mod order;
mod recent;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palisade::client::{Country, Network};

pub(crate) use cart::{Cart, CartFull, Line, Quantity};
pub(crate) use catalogue::{PRODUCTS, Product, product};
pub(crate) use order::{EmptyCart, Order, OrderId, PaymentMethod, Placed};
use recent::Recent;

/// Carts kept at a time.
pub const MAX_CARTS: usize = 50_000;
/// Orders remembered at a time.
pub const MAX_ORDERS: usize = 100_000;

/// Whose cart and orders: the user's, or those of the client's network while it is anonymous.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    User(Arc<str>),
    Client(Network),
}

/// The state of the shop, shared by all requests.
pub struct Shop {
    // One lock: checking out moves a cart into an order in one step, and no holder waits or does I/O.
    books: Mutex<Books>,
}

struct Books {
    carts: Recent<Owner, Cart>,
    orders: Recent<(Owner, OrderId), Arc<Order>>,
}

impl Shop {
    /// An open shop with empty books.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(MAX_CARTS, MAX_ORDERS)
    }

    fn with_capacity(carts: usize, orders: usize) -> Self {
        Self {
            books: Mutex::new(Books {
                carts: Recent::new(carts),
                orders: Recent::new(orders),
            }),
        }
    }

    /// The owner's cart, empty unless something was added.
    pub(crate) fn cart(&self, owner: &Owner) -> Cart {
        self.books().carts.get(owner).cloned().unwrap_or_default()
    }

    /// Adds to the owner's cart and returns the whole of it.
    pub(crate) fn add_to_cart(
        &self,
        owner: &Owner,
        product: &'static Product,
        quantity: Quantity,
    ) -> Result<Cart, CartFull> {
        let mut books = self.books();
        if let Some(cart) = books.carts.get(owner) {
            cart.add(product, quantity)?;
            return Ok(cart.clone());
        }
        let mut cart = Cart::default();
        cart.add(product, quantity)?;
        books.carts.insert(owner.clone(), cart.clone());
        Ok(cart)
    }

    /// Orders what is in the owner's cart, and empties it.
    ///
    /// An id that the owner has used before returns the order of that time and changes nothing, whatever the
    /// cart holds now.
    pub(crate) fn order(
        &self,
        owner: &Owner,
        id: OrderId,
        payment_method: PaymentMethod,
        country: Country,
    ) -> Result<Placed, EmptyCart> {
        let mut books = self.books();
        let key = (owner.clone(), id);
        if let Some(order) = books.orders.get(&key) {
            let order = Arc::clone(order);
            return Ok(Placed {
                order,
                is_repeat: true,
            });
        }
        let cart = books.carts.remove(owner).ok_or(EmptyCart)?;
        let order = Arc::new(Order::new(key.1.clone(), country, payment_method, cart));
        books.orders.insert(key, Arc::clone(&order));
        Ok(Placed {
            order,
            is_repeat: false,
        })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Nothing between a lock and its release can leave the books half written.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Shop {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Owner {
        Owner::User(name.into())
    }

    fn id(text: &str) -> OrderId {
        OrderId::try_from(text.to_owned()).unwrap()
    }

    fn us() -> Country {
        "US".parse().unwrap()
    }

    fn add(shop: &Shop, owner: &Owner, product_id: u32, quantity: u32) {
        let quantity = Quantity::try_from(quantity).unwrap();
        shop.add_to_cart(owner, product(product_id).unwrap(), quantity)
            .unwrap();
    }

    fn place(shop: &Shop, owner: &Owner, text: &str) -> Result<Placed, EmptyCart> {
        shop.order(owner, id(text), PaymentMethod::Paypal, us())
    }

    fn order(shop: &Shop, owner: &Owner, text: &str) -> Result<Arc<Order>, EmptyCart> {
        place(shop, owner, text).map(|placed| placed.order)
    }

    #[test]
    fn an_order_takes_what_is_in_the_cart_and_empties_it() {
        let shop = Shop::new();
        add(&shop, &user("ada"), 1, 2);
        let order = order(&shop, &user("ada"), "a").unwrap();
        assert_eq!(order.cart.total(), 2 * u64::from(product(1).unwrap().price));
        assert!(shop.cart(&user("ada")).is_empty());
    }

    #[test]
    fn an_empty_cart_cannot_be_ordered() {
        let shop = Shop::new();
        assert_eq!(order(&shop, &user("ada"), "a").unwrap_err(), EmptyCart);
        add(&shop, &user("ada"), 1, 1);
        order(&shop, &user("ada"), "a").unwrap();
        assert_eq!(order(&shop, &user("ada"), "b").unwrap_err(), EmptyCart);
    }

    #[test]
    fn a_repeated_order_is_the_first_one_and_leaves_the_new_cart_alone() {
        let shop = Shop::new();
        add(&shop, &user("ada"), 1, 1);
        let first = order(&shop, &user("ada"), "a").unwrap();
        add(&shop, &user("ada"), 2, 5);
        let repeat = shop
            .order(
                &user("ada"),
                id("a"),
                PaymentMethod::CreditCard,
                "GB".parse().unwrap(),
            )
            .unwrap();
        assert!(repeat.is_repeat && Arc::ptr_eq(&first, &repeat.order));
        assert!(!shop.cart(&user("ada")).is_empty());
    }

    #[test]
    fn an_order_id_is_its_owners_own() {
        let shop = Shop::new();
        let client = Owner::Client(Network::of([192, 0, 2, 1].into(), 64));
        for owner in [&user("ada"), &user("bob"), &client] {
            add(&shop, owner, 1, 1);
        }
        let ada = order(&shop, &user("ada"), "a").unwrap();
        for owner in [&user("bob"), &client] {
            assert!(!Arc::ptr_eq(&ada, &order(&shop, owner, "a").unwrap()));
        }
    }

    #[test]
    fn fifty_threads_with_one_order_id_place_one_order() {
        let shop = Shop::new();
        add(&shop, &user("ada"), 1, 1);
        let placed: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..50)
                .map(|_| scope.spawn(|| place(&shop, &user("ada"), "a").unwrap()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let same = |it: &Placed| Arc::ptr_eq(&it.order, &placed[0].order);
        assert!(placed.iter().all(same));
        assert_eq!(placed.iter().filter(|it| !it.is_repeat).count(), 1);
    }

    #[test]
    fn the_cart_used_least_recently_goes_first() {
        let shop = Shop::with_capacity(2, 2);
        add(&shop, &user("ada"), 1, 1);
        add(&shop, &user("bob"), 1, 1);
        shop.cart(&user("ada"));
        add(&shop, &user("cyd"), 1, 1);
        assert!(!shop.cart(&user("ada")).is_empty());
        assert!(shop.cart(&user("bob")).is_empty());
        assert!(!shop.cart(&user("cyd")).is_empty());
    }

    #[test]
    fn looking_into_a_cart_keeps_nothing() {
        let shop = Shop::with_capacity(1, 1);
        add(&shop, &user("ada"), 1, 1);
        shop.cart(&user("bob"));
        assert!(!shop.cart(&user("ada")).is_empty());
    }
}
