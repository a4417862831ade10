use super::*;
use proptest::prelude::*;

#[test]
fn is_three_words() {
    assert_eq!(size_of::<ShortBytes>(), 24);
    assert_eq!(size_of::<Option<ShortBytes>>(), 24);
}

proptest! {
    #[test]
    fn agrees_with_a_vector(start in proptest::collection::vec(any::<u8>(), 0..30), edits in proptest::collection::vec((any::<bool>(), any::<usize>(), any::<u8>()), 0..40)) {
        let (mut short, mut model) = (ShortBytes::new(&start), start);
        for (add, at, byte) in edits {
            if add {
                let at = at % (model.len() + 1);
                short.insert(at, byte);
                model.insert(at, byte);
            } else if !model.is_empty() {
                let at = at % model.len();
                short.remove(at);
                model.remove(at);
            }
            prop_assert_eq!(short.as_slice(), &model[..]);
            prop_assert_eq!(matches!(short, ShortBytes::Boxed(_)), model.len() > INLINE);
        }
    }
}
