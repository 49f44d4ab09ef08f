//! The f64 twin against PyTorch 2.15, optax 0.2.8 and pytorch-optimizer 4.1, and against plain
//! formulas where none has the variant: `tests/reference/record.py` printed the table.

use wgpu_optim::{Layout, cpu, rules};

const STEPS: u64 = 12;
const START: [f64; 3] = [0.5, -1.25, 2.0];

fn grad(t: u64, i: usize) -> f64 {
    if (t + i as u64).is_multiple_of(5) {
        return 0.0;
    }
    (t as f64 * (i as f64 + 1.0)).sin() * 10f64.powi(i as i32 - 1)
}

/// Rule, hyperparameters, parameters after the last step.
#[rustfmt::skip]
const EXPECTED: &[(&str, &str, [f64; 3])] = &[
    ("sgd", "lr=0.05", [0.49311214683890303, -1.2246852511444717, 1.9812174326211023]),
    ("sgd", "lr=0.05 momentum=0.9", [0.4339316475552248, -1.181421725857053, 1.483125490065129]),
    ("sgd", "lr=0.05 momentum=0.8 dampening=0.3 weight_decay=0.1 maximize=true", [0.4619768062208086, -1.038428466079362, 2.201331071948738]),
    ("sgd", "lr=0.05 momentum=0.9 nesterov=true", [0.43365062963860546, -1.1629648044158192, 1.5160303736797176]),
    ("sgd", "lr=0.05 momentum=0.9 momentum_form=ema", [0.4933931647555225, -1.2431421725857053, 1.9483125490065123]),
    ("adagrad", "lr=0.1", [0.3418541018016026, -1.2293405271055098, 1.9993944303482483]),
    ("adagrad", "lr=0.1 lr_decay=0.2 weight_decay=0.1 initial_accumulator_value=0.3 eps=0.01 maximize=true", [0.4705417376338202, -1.2011649056426152, 1.9925071514300636]),
    ("adagrad", "lr=0.1 eps=0.03 eps_inside_root=true initial_accumulator_value=0.1", [0.461735101786254, -1.2275488808363164, 2.0018266055303213]),
    ("rmsprop", "lr=0.01", [0.3420633316674252, -1.2281764121310146, 1.999391630350284]),
    ("rmsprop", "lr=0.01 alpha=0.9 centered=true momentum=0.9 eps=0.01 weight_decay=0.1 maximize=true", [0.3318299749256028, -1.1258855898756404, 1.9682093790206612]),
    ("rmsprop", "lr=0.01 alpha=0.9 eps=0.03 eps_inside_root=true", [0.49209936820366584, -1.2393874176489434, 2.001398580962737]),
    ("adam", "lr=0.01", [0.4461254177085713, -1.2507431196326362, 1.9987105459885022]),
    ("adam", "lr=0.01 beta1=0.8 beta2=0.95 eps=0.02 weight_decay=0.1 amsgrad=max_raw maximize=true", [0.4778843246588623, -1.2297047951179436, 1.9978652887479853]),
    ("adam", "lr=0.01 beta2=0.9 amsgrad=max_corrected", [0.4542307159426985, -1.2539206857859935, 1.9982113051854913]),
    ("adam", "lr=0.01 beta2=0.9 amsgrad=max_uncorrected eps=0.02", [0.4320143336078482, -1.2654958935670875, 1.9887375514683479]),
    ("adam", "lr=0.01 nesterov=true", [0.44743565777367394, -1.2492988623930315, 1.9984211966391128]),
    ("adam", "lr=0.01 eps=0.03 eps_inside_root=true", [0.4789311125407075, -1.2509321961371929, 1.9987527932652331]),
    ("adamw", "lr=0.01", [0.4455649419285051, -1.2492394284498038, 1.9963119508617657]),
    ("adamw", "lr=0.01 beta1=0.8 beta2=0.95 eps=0.02 weight_decay=0.3 amsgrad=max_raw maximize=true", [0.5188646401903394, -1.2057524844888559, 1.9317953313921303]),
    ("adamw", "lr=0.01 weight_decay=0.2 nesterov=true", [0.43639553364066686, -1.2195513882844824, 1.950959427220078]),
    ("adamw", "lr=0.01 weight_decay=0.2 beta2=0.9 amsgrad=max_corrected", [0.44306014037284086, -1.224115287349984, 1.9507518131692523]),
    ("adamw", "lr=0.01 weight_decay=0.2 beta2=0.9 amsgrad=max_uncorrected", [0.3846408093150311, -1.2366417115426924, 1.940540181145993]),
    ("adamw", "lr=0.01 weight_decay=0.2 eps=0.03 eps_inside_root=true", [0.46737999939772423, -1.2211698186422326, 1.9512776220482917]),
    ("nadam", "lr=0.01", [0.4766179187873723, -1.2457537844553868, 1.9986680234637442]),
    ("nadam", "lr=0.01 beta1=0.8 beta2=0.95 eps=0.02 momentum_decay=0.1 weight_decay=0.3 maximize=true", [0.4046260898718396, -1.2042238858530487, 1.990667773920018]),
    ("nadam", "lr=0.01 weight_decay=0.3 decoupled_weight_decay=true", [0.45963097109487033, -1.20148745925309, 1.9278703282209946]),
    ("radam", "lr=0.01", [0.4964593733443458, -1.2561279896783408, 2.016568195829459]),
    ("radam", "lr=0.01 beta1=0.8 beta2=0.9 eps=0.02 weight_decay=0.3 maximize=true", [0.4711816775932939, -1.211787990172846, 1.9520829783245282]),
    ("radam", "lr=0.01 beta2=0.9 weight_decay=0.3 decoupled_weight_decay=true", [0.4710274586400209, -1.210677669056449, 1.9435861711451203]),
    ("radam", "lr=0.01 beta2=0.9 rho_threshold=4 eps=1e-30", [0.48833851899449854, -1.2564355481438658, 2.0160668044012495]),
    ("adabelief", "lr=0.01 eps=0.001", [0.4960314516571566, -1.252196214109734, 1.9997335819597408]),
    ("adabelief", "lr=0.01 eps=0.02 eps_in_state=false", [0.4534745228804563, -1.2511949366625015, 1.9985787473376406]),
    ("adabelief", "lr=0.01 eps=0.001 weight_decay=0.2", [0.4842228753826854, -1.222438174604212, 1.9522334022683865]),
    ("lion", "lr=0.01 maximize=true", [0.54, -1.29, 1.9999999999999998]),
    ("lion", "lr=0.01 weight_decay=0.2", [0.4488457912880931, -1.1808843014488732, 1.9524456905974437]),
    ("lion", "lr=0.01 beta1=0.7 beta2=0.8", [0.45999999999999996, -1.21, 1.9999999999999998]),
    ("adadelta", "lr=1", [0.49491463486977005, -1.2464992033011162, 2.0000078752764545]),
    ("adadelta", "lr=0.5 rho=0.7 eps=0.01 weight_decay=0.1 maximize=true", [0.32193971619129597, -1.2261847555906025, 1.9551422323831287]),
    ("rprop", "lr=0.01", [0.47238399999999997, -1.2425000000000002, 1.9956249999999998]),
    ("rprop", "lr=0.1 etaminus=0.4 etaplus=1.5 step_size_min=0.05 step_size_max=0.3 maximize=true", [0.8225, -1.375, 2.1]),
    ("adamax", "lr=0.01", [0.4563728742746855, -1.2539086504585428, 1.9958377074810711]),
    ("adamax", "lr=0.01 beta1=0.8 beta2=0.9 eps=0.02 weight_decay=0.3 maximize=true", [0.4189980549870213, -1.2096588484453015, 1.9961822450949227]),
    ("adabound", "lr=0.01", [0.4461255404705441, -1.250743118288969, 1.9987105472873883]),
    ("adabound", "lr=0.01 final_lr=0.05 gamma=0.2 eps=0.02 weight_decay=0.3", [0.47268262984082937, -1.2052946365777713, 1.8790929783250065]),
    ("adabound", "lr=0.01 gamma=0.2 beta2=0.9 amsbound=true weight_decay=0.3 decoupled_weight_decay=false maximize=true", [0.4062499329315084, -1.130158519206239, 1.9089609902579858]),
    ("yogi", "lr=0.01", [0.4484829472782821, -1.2507577190111607, 1.9987175973087623]),
    ("yogi", "lr=0.01 beta1=0.8 beta2=0.9 eps=0.02 maximize=true", [0.5357349052304924, -1.2495037444790862, 2.0021123546591286]),
    ("signsgd", "lr=0.01", [0.3799999999999999, -1.21, 1.9799999999999998]),
    ("signsgd", "lr=0.01 momentum=0 maximize=true", [0.52, -1.29, 1.9999999999999998]),
    ("adan", "lr=0.01", [0.46568132147572483, -1.241770535010405, 2.001607039710932]),
    ("adan", "lr=0.01 beta1=0.9 beta2=0.8 beta3=0.95 eps=0.02 weight_decay=0.3", [0.455947152934562, -1.1997182295713817, 1.9301588260153104]),
    ("adan", "lr=0.01 weight_decay=0.3 decoupled_weight_decay=true", [0.44881584885453774, -1.1975688447210995, 1.9307759283504877]),
    ("adopt", "lr=0.01", [0.4914721474162558, -1.2413161445770342, 2.00611413765198]),
    ("adopt", "lr=0.01 beta1=0.8 beta2=0.9 eps=0.02 weight_decay=0.3 maximize=true", [0.41509332833537255, -1.232017407435829, 1.9881020166953343]),
    ("adopt", "lr=0.01 beta2=0.9 weight_decay=0.3 decoupled_weight_decay=true", [0.4733458023426681, -1.1974798923408618, 1.9349558529669333]),
    ("ademamix", "lr=0.01", [0.44597161303003413, -1.2507237395853115, 1.998713618250016]),
    ("ademamix", "lr=0.01 beta1=0.8 beta2=0.95 beta3=0.99 alpha=3 eps=0.02 weight_decay=0.3", [0.43882880050237927, -1.2046069054108504, 1.9267445316137874]),
    ("ademamix", "lr=0.01 t_alpha_beta3=8", [0.44548083918490794, -1.2509485424002345, 1.9987106791245681]),
    ("nadam", "lr=0.01 eps=0.03 eps_inside_root=true", [0.49022849392149276, -1.2460660066521876, 1.9987092980340817]),
    ("radam", "lr=0.01 beta2=0.9 eps=0.03 eps_inside_root=true", [0.4943365746042085, -1.2551992300723986, 2.0147434307017282]),
    ("adabelief", "lr=0.01 eps=0.03 eps_inside_root=true maximize=true", [0.5007264799652397, -1.2493625734857428, 2.000298208541115]),
];

#[test]
fn the_f64_twin_is_what_the_reference_implementations_compute() {
    for (name, settings, expected) in EXPECTED {
        let mut rule = rules::by_name(name).unwrap();
        for setting in settings.split(' ') {
            let (field, value) = setting.split_once('=').unwrap();
            rule.set(field, value).unwrap();
        }
        let mut layout = Layout::new();
        let group = layout.group(rule).unwrap();
        let p = layout.tensor(group, "p", &[3]).unwrap();
        let mut optimizer = cpu::Optimizer::<f64>::new(&layout).unwrap();
        optimizer.param_mut(p).unwrap().copy_from_slice(&START);
        for t in 1..=STEPS {
            for (i, g) in optimizer.grad_mut(p).unwrap().iter_mut().enumerate() {
                *g = grad(t, i);
            }
            optimizer.step().unwrap();
        }
        // pytorch-optimizer adds 1e-15 under AdaBound's root.
        let allowed = if *name == "adabound" { 1e-11 } else { 1e-13 };
        for (found, expected) in optimizer.param(p).unwrap().iter().zip(expected) {
            let error = (found - expected).abs();
            assert!(
                error < allowed,
                "{name} {settings}: {found} instead of {expected}"
            );
        }
    }
}
