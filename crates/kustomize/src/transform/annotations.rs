//! `commonAnnotations`.

use crate::error::Result;
use crate::field_spec::FieldSpec;
use crate::resources::Resources;

/// Sets each pair in each of the fields.
pub(crate) fn transform(
    resources: &mut Resources,
    pairs: &[(String, String)],
    specs: &[FieldSpec],
) -> Result<()> {
    super::labels::transform(resources, pairs, specs)
}
