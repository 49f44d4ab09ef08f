//! `bindgen IN.wasm OUT`: what `wasm-bindgen --target web` does, without its command line's dependencies.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(input), Some(out)) = (args.next(), args.next()) else {
        return Err("usage: bindgen IN.wasm OUT".into());
    };
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen
        .input_path(input)
        .web(true)?
        .typescript(false)
        .omit_default_module_path(false)
        .generate(out)?;
    Ok(())
}
