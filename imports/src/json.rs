//! JSON of others, taken as it comes: a field of another type than is documented is absent, not an error; arrays are handed over element by
//! element, so that a file may be larger than memory, and may break off.

use std::fmt;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A number, or a text that is one.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub(crate) struct Number(pub Option<f64>);

/// A text, or a number as text.
#[derive(Clone, PartialEq, Default, Debug)]
pub(crate) struct Text(pub Option<String>);

/// A truth value.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub(crate) struct Truth(pub Option<bool>);

/// An object with fields of its own.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Object<T>(pub Option<T>);

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl Number {
    /// It, if it is finite and not negative: -1 stands for "does not apply" in HAR and in logs.
    pub(crate) fn positive(self) -> Option<f64> {
        self.0.filter(|n| n.is_finite() && *n >= 0.0)
    }

    /// It as a whole number of this type.
    pub(crate) fn whole<N: TryFrom<u64>>(self) -> Option<N> {
        let n = self.positive().filter(|n| n.fract() == 0.0 && *n < 9e15)?;
        N::try_from(n as u64).ok()
    }
}

impl Text {
    /// It, unless it is empty.
    pub(crate) fn full(&self) -> Option<&str> {
        self.0.as_deref().filter(|text| !text.is_empty())
    }
}

/// What stands where a type expected something: every kind of value there is, each with an answer.
trait Lenient: Sized {
    fn absent() -> Self;
    fn number(_: f64) -> Self {
        Self::absent()
    }
    fn text(_: &str) -> Self {
        Self::absent()
    }
    fn truth(_: bool) -> Self {
        Self::absent()
    }
    fn object<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        IgnoredAny.visit_map(map).map(|_| Self::absent())
    }
}

impl Lenient for Number {
    fn absent() -> Self {
        Self(None)
    }
    fn number(n: f64) -> Self {
        Self(Some(n))
    }
    fn text(text: &str) -> Self {
        Self(text.trim().parse().ok())
    }
}

impl Lenient for Text {
    fn absent() -> Self {
        Self(None)
    }
    fn number(n: f64) -> Self {
        Self(Some(n.to_string()))
    }
    fn text(text: &str) -> Self {
        Self(Some(text.to_owned()))
    }
}

impl Lenient for Truth {
    fn absent() -> Self {
        Self(None)
    }
    fn truth(truth: bool) -> Self {
        Self(Some(truth))
    }
}

impl<T: for<'de> Deserialize<'de>> Lenient for Object<T> {
    fn absent() -> Self {
        Self(None)
    }
    fn object<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|fields| Self(Some(fields)))
    }
}

struct Whatever<T>(PhantomData<T>);

impl<'de, T: Lenient> Visitor<'de> for Whatever<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E>(self, truth: bool) -> Result<T, E> {
        Ok(T::truth(truth))
    }
    fn visit_i64<E>(self, n: i64) -> Result<T, E> {
        Ok(T::number(n as f64))
    }
    fn visit_u64<E>(self, n: u64) -> Result<T, E> {
        Ok(T::number(n as f64))
    }
    fn visit_f64<E>(self, n: f64) -> Result<T, E> {
        Ok(T::number(n))
    }
    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::text(text))
    }
    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::absent())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<T, A::Error> {
        IgnoredAny.visit_seq(seq).map(|_| T::absent())
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::object(map)
    }
}

macro_rules! lenient {
    ($($name:ty),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_any(Whatever::<Self>(PhantomData))
            }
        }
    )*};
}
lenient!(Number, Text, Truth);

impl<'de, T: for<'any> Deserialize<'any>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Whatever::<Self>(PhantomData))
    }
}

/// An object whose fields are taken one by one, as they come.
pub(crate) struct Fields<F>(pub F);

/// An array whose elements are handed over one by one.
pub(crate) struct Each<'a, T>(pub &'a mut dyn FnMut(Object<T>) -> ControlFlow<()>);

/// What an [`Each`] stopped for: nobody wants more.
const ENOUGH: &str = "enough";

/// Whether reading ended because nobody wants more.
pub(crate) fn was_enough(error: &serde_json::Error) -> bool {
    error.is_data() && error.to_string().starts_with(ENOUGH)
}

impl<'de, T: for<'any> Deserialize<'any>> DeserializeSeed<'de> for Each<'_, T> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, T: for<'any> Deserialize<'any>> Visitor<'de> for Each<'_, T> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element::<Object<T>>()? {
            if (self.0)(element).is_break() {
                return Err(serde::de::Error::custom(ENOUGH));
            }
        }
        Ok(())
    }
}

/// Takes the fields of an object: by name, with access to the value behind it.
pub(crate) trait TakeField {
    /// Reads one field's value.
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;
}

impl<'de, F: TakeField> DeserializeSeed<'de> for Fields<&mut F> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, F: TakeField> Visitor<'de> for Fields<&mut F> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            self.0.take(&name, &mut map)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, Default, PartialEq, Debug)]
    #[serde(default)]
    struct Some_ {
        n: Number,
        t: Text,
        b: Truth,
        o: Object<Inner>,
    }

    #[derive(Deserialize, Default, PartialEq, Debug)]
    #[serde(default)]
    struct Inner {
        n: Number,
    }

    #[test]
    fn fields_of_other_types_are_absent() {
        let read = |json: &str| serde_json::from_str::<Some_>(json).expect("it is JSON");
        let all = read(r#"{"n": 1.5, "t": "x", "b": true, "o": {"n": 2, "m": [1]}}"#);
        assert_eq!((all.n.0, all.t.full(), all.b.0, all.o.0.map(|o| o.n.0)), (Some(1.5), Some("x"), Some(true), Some(Some(2.0))));
        for nothing in [
            "{}",
            r#"{"n": null, "t": null, "b": null, "o": null}"#,
            r#"{"n": [1, {"a": 2}], "t": {"a": [1]}, "b": "true", "o": [1]}"#,
            r#"{"n": "soon", "t": true, "b": 1, "o": "x"}"#,
        ] {
            assert_eq!(read(nothing), Some_::default(), "{nothing}");
        }
        assert_eq!((read(r#"{"n": -1}"#).n.positive(), read(r#"{"n": 443.5}"#).n.whole::<u16>()), (None, None));
        assert_eq!((read(r#"{"n": "443"}"#).n.whole::<u16>(), read(r#"{"n": 70000}"#).n.whole::<u16>()), (Some(443), None));
    }
}
