//! [`Stack`](super::Stack) and all that goes through its layers one by one, made of the list of them.

/// Makes the stack of a list, the outermost layer first: its room, its layer, the service that this makes, and how the layer
/// is made.
macro_rules! layers {
    ($($room:ident: $layer:ident => $service:ident, $make:expr;)+) => {
        $(use crate::$room::{$layer, $service};)+

        /// The layers in their order, as one layer. Clones share everything.
        ///
        /// `T` stands for what is outermost: nothing, or the HTTP metrics.
        #[derive(Clone)]
        pub struct Stack<T = Identity> {
            telemetry: T,
            $($room: $layer,)+
            naming: Naming,
            #[cfg(feature = "redis")]
            redis: Option<RedisStore>,
            #[cfg(feature = "redis")]
            health: Option<StoreHealth>,
        }

        impl Stack {
            fn make(mut setup: Setup) -> Result<Self, ConfigError> {
                make!(setup; $($room = $make;)+);
                Ok(Self {
                    telemetry: Identity::new(),
                    $($room,)+
                    naming: Naming::new(&setup),
                    #[cfg(feature = "redis")]
                    health: setup.stores.redis.as_ref().map(RedisStore::health),
                    #[cfg(feature = "redis")]
                    redis: setup.stores.redis,
                })
            }

            /// The same layers with another outermost one.
            #[cfg(feature = "otel")]
            fn inside<T>(self, telemetry: T) -> Stack<T> {
                Stack {
                    telemetry,
                    $($room: self.$room,)+
                    naming: self.naming,
                    #[cfg(feature = "redis")]
                    health: self.health,
                    #[cfg(feature = "redis")]
                    redis: self.redis,
                }
            }

            /// Hands over the counts of every layer, and those of the store.
            #[cfg(feature = "otel")]
            pub(crate) fn measure(&self, meters: &impl Meters) {
                $(self.$room.measure(meters);)+
                #[cfg(feature = "redis")]
                if let Some(health) = &self.health {
                    meters.watch(&Arc::new(health.clone()));
                }
            }

            /// The panels of the layers that make their own, the innermost first.
            #[cfg(feature = "ops")]
            fn own_panels(&self) -> Vec<Box<dyn Panel>> {
                let mut panels = Vec::new();
                $(panels.extend(self.$room.panel());)+
                panels.reverse();
                panels
            }
        }

        impl<S, T> Layer<S> for Stack<T>
        where
            T: Outermost<nested_type!(Wrap<S>; $($service)+)>,
        {
            type Service = T::Service;

            fn layer(&self, inner: S) -> T::Service {
                self.telemetry.around(nested!(self, Wrap::new(inner); $($room)+))
            }
        }

        impl<T> fmt::Debug for Stack<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("Stack")
                    $(.field(stringify!($room), &self.$room))+
                    .finish_non_exhaustive()
            }
        }
    };
}

/// Makes the layers, the last one of the list first.
macro_rules! make {
    ($setup:ident;) => {};
    ($setup:ident; $room:ident = $make:expr; $($further_in:tt)*) => {
        make!($setup; $($further_in)*);
        let $room = $setup.make($make)?;
    };
}

/// `A<B<C<inner>>>` of `A B C`.
macro_rules! nested_type {
    ($inner:ty;) => { $inner };
    ($inner:ty; $service:ident $($further_in:ident)*) => {
        $service<nested_type!($inner; $($further_in)*)>
    };
}

/// Each layer around those that follow it.
macro_rules! nested {
    ($stack:ident, $inner:expr;) => { $inner };
    ($stack:ident, $inner:expr; $room:ident $($further_in:ident)*) => {
        $stack.$room.around(nested!($stack, $inner; $($further_in)*))
    };
}
