//! Vectors: C sees a size and a pointer, and the memory behind it is a boxed slice.

use std::ptr;

/// A vector of C. It owns its elements where the header says `own`.
#[repr(C)]
pub struct Vector<T> {
    pub size: usize,
    pub data: *mut T,
}

impl<T> Vector<T> {
    pub const EMPTY: Vector<T> = Vector { size: 0, data: ptr::null_mut() };

    /// The elements, lent.
    ///
    /// # Safety
    /// The vector is one of C's; nobody changes it meanwhile.
    pub unsafe fn as_slice(&self) -> &[T] {
        if self.size == 0 || self.data.is_null() {
            return &[];
        }
        // SAFETY: by contract.
        unsafe { std::slice::from_raw_parts(self.data, self.size) }
    }

    /// Takes the elements; the vector is empty then.
    ///
    /// # Safety
    /// The vector was made by this library.
    pub unsafe fn take(&mut self) -> Vec<T> {
        let Vector { size, data } = std::mem::replace(self, Vector::EMPTY);
        if size == 0 || data.is_null() {
            return Vec::new();
        }
        // SAFETY: `from` made it of a boxed slice of this length.
        unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(data, size)) }.into_vec()
    }
}

impl<T> From<Vec<T>> for Vector<T> {
    fn from(elements: Vec<T>) -> Vector<T> {
        if elements.is_empty() {
            return Vector::EMPTY;
        }
        let elements = Box::into_raw(elements.into_boxed_slice());
        Vector { size: elements.len(), data: elements.cast() }
    }
}

/// What the elements of vectors can do.
pub trait Element: Sized {
    /// What `new_uninitialized` fills in.
    const UNSET: Self;
    /// # Safety
    /// As C's `copy` of the type; null where that is allowed.
    unsafe fn copy(&self) -> Self;
    /// # Safety
    /// As C's `delete` of the type.
    unsafe fn delete(self);
}

impl Element for u8 {
    const UNSET: u8 = 0;
    unsafe fn copy(&self) -> u8 {
        *self
    }
    unsafe fn delete(self) {}
}

/// Elements by pointer.
impl<T: Duplicate> Element for *mut T {
    const UNSET: *mut T = ptr::null_mut();
    unsafe fn copy(&self) -> *mut T {
        // SAFETY: C's promise: null or an object.
        unsafe { self.as_ref() }.map_or(ptr::null_mut(), |object| crate::give(object.duplicate()))
    }
    unsafe fn delete(self) {
        // SAFETY: C's promise.
        unsafe { crate::delete(self) };
    }
}

/// Objects that C can copy.
pub trait Duplicate {
    fn duplicate(&self) -> Self;
}

/// Defines the functions of a vector type, and a name for it.
macro_rules! vector {
    ($($vec:ident of $element:ty: $new_empty:ident $new_uninitialized:ident $new:ident $copy:ident $delete:ident;)*) => {$(
        pub type $vec = $crate::vec::Vector<$element>;

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $new_empty(out: *mut $vec) {
            // SAFETY: C's promise.
            unsafe { out.write($vec::EMPTY) };
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $new_uninitialized(out: *mut $vec, size: usize) {
            $crate::guard((), || {
                let elements = (0..size).map(|_| <$element as $crate::vec::Element>::UNSET);
                // SAFETY: C's promise.
                unsafe { out.write(elements.collect::<Vec<_>>().into()) }
            });
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $new(out: *mut $vec, size: usize, data: *const $element) {
            $crate::guard((), || {
                // SAFETY: C's promise: `data` has so many elements, which are moved.
                unsafe {
                    let elements: Vec<_> = (0..size).map(|index| data.add(index).read()).collect();
                    out.write(elements.into());
                }
            });
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $copy(out: *mut $vec, from: *const $vec) {
            $crate::guard((), || {
                // SAFETY: C's promise.
                unsafe {
                    let elements = (*from).as_slice().iter();
                    let copies: Vec<_> =
                        elements.map(|element| $crate::vec::Element::copy(element)).collect();
                    out.write(copies.into());
                }
            });
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $delete(vector: *mut $vec) {
            $crate::guard((), || {
                // SAFETY: C's promise.
                unsafe {
                    for element in (*vector).take() {
                        $crate::vec::Element::delete(element);
                    }
                }
            });
        }
    )*};
}
pub(crate) use vector;

vector! {
    wasm_byte_vec_t of u8: wasm_byte_vec_new_empty wasm_byte_vec_new_uninitialized wasm_byte_vec_new
        wasm_byte_vec_copy wasm_byte_vec_delete;
}

impl wasm_byte_vec_t {
    pub fn bytes(text: &[u8]) -> wasm_byte_vec_t {
        text.to_vec().into()
    }

    /// A message: with a NUL at its end.
    pub fn message(text: &str) -> wasm_byte_vec_t {
        let mut bytes: Vec<u8> =
            text.bytes().map(|byte| if byte == 0 { b' ' } else { byte }).collect();
        bytes.push(0);
        bytes.into()
    }
}
