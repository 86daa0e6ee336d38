! Trains a network on handwritten digits in Fortran, and prints how many of the images it has not seen it reads
! correctly. Calls the C functions through iso_c_binding.
!
!     gfortran -O2 examples/fortran/quickstart.f90 -Ltarget/release -levenkeel -o quickstart
!     LD_LIBRARY_PATH=target/release ./quickstart data/digits.csv [WEIGHTS [EPOCHS]]
!
! With a second argument it writes the trained weights to that file: the bytes of the quickstart in C.
!
! A row-major matrix [rows, cols] of the header is a Fortran array (cols, rows).
module evenkeel
    use, intrinsic :: iso_c_binding
    implicit none

    integer(c_int32_t), parameter :: IDENTITY = 0, SILU = 8, NORMAL = 1, GLOBAL_NORM = 1

    type, bind(c) :: ek_clip_options
        integer(c_size_t) :: struct_size
        integer(c_int32_t) :: mode
        real(c_float) :: threshold, loss_scale
        integer(c_int32_t) :: nonfinite
        real(c_double) :: known_sum_sq
    end type

    type, bind(c) :: ek_adam_options
        integer(c_size_t) :: struct_size
        real(c_double) :: lr, beta1, beta2, eps, weight_decay
        logical(c_bool) :: decoupled
        integer(c_int64_t) :: step
        integer(c_int32_t) :: second_moment
        logical(c_bool) :: stochastic
        integer(c_int64_t) :: seed
    end type

    interface
        type(c_ptr) function ek_last_error() bind(c)
            import c_ptr
        end function
        integer(c_size_t) function strlen(text) bind(c)
            import c_ptr, c_size_t
            type(c_ptr), value :: text
        end function
        integer(c_int32_t) function ek_context_create(options, out) bind(c)
            import c_int32_t, c_ptr
            type(c_ptr), value :: options
            type(c_ptr), intent(out) :: out
        end function
        subroutine ek_context_destroy(ctx) bind(c)
            import c_ptr
            type(c_ptr), value :: ctx
        end subroutine
        subroutine ek_clip_options_init(options) bind(c)
            import ek_clip_options
            type(ek_clip_options), intent(out) :: options
        end subroutine
        subroutine ek_adam_options_init(options) bind(c)
            import ek_adam_options
            type(ek_adam_options), intent(out) :: options
        end subroutine
        integer(c_int32_t) function ek_init_he_f32(ctx, seed, stream, distribution, slope, fan_in, n, w) bind(c)
            import c_int32_t, c_int64_t, c_float, c_size_t, c_ptr
            type(c_ptr), value :: ctx, w
            integer(c_int64_t), value :: seed, stream
            integer(c_int32_t), value :: distribution
            real(c_float), value :: slope
            integer(c_size_t), value :: fan_in, n
        end function
        integer(c_int32_t) function ek_linear_forward_f32(ctx, act, p, batch, in, out, x, w, bias, z, y) bind(c)
            import c_int32_t, c_float, c_size_t, c_ptr
            type(c_ptr), value :: ctx, x, w, bias, z, y
            integer(c_int32_t), value :: act
            real(c_float), value :: p
            integer(c_size_t), value :: batch, in, out
        end function
        integer(c_int32_t) function ek_linear_backward_input_f32(ctx, act, p, batch, in, out, dz, w, z_prev, dx) bind(c)
            import c_int32_t, c_float, c_size_t, c_ptr
            type(c_ptr), value :: ctx, dz, w, z_prev, dx
            integer(c_int32_t), value :: act
            real(c_float), value :: p
            integer(c_size_t), value :: batch, in, out
        end function
        integer(c_int32_t) function ek_linear_backward_weight_f32(ctx, batch, in, out, dz, x, accumulate, dw, dbias, &
                                                                  sum_sq) bind(c)
            import c_int32_t, c_bool, c_double, c_size_t, c_ptr
            type(c_ptr), value :: ctx, dz, x, dw, dbias
            integer(c_size_t), value :: batch, in, out
            logical(c_bool), value :: accumulate
            real(c_double), intent(out) :: sum_sq
        end function
        integer(c_int32_t) function ek_cross_entropy_f32(ctx, smoothing, ignore, scale, rows, classes, logits, targets, &
                                                         losses, mean_loss, dlogits) bind(c)
            import c_int32_t, c_int64_t, c_float, c_double, c_size_t, c_ptr
            type(c_ptr), value :: ctx, logits, losses, dlogits
            real(c_float), value :: smoothing, scale
            integer(c_int64_t), value :: ignore
            integer(c_size_t), value :: rows, classes
            integer(c_int64_t), intent(in) :: targets(*)
            real(c_double), intent(out) :: mean_loss
        end function
        integer(c_int32_t) function ek_clip_adam_f32(ctx, clip, adam, count, sizes, params, grads, m, v, report) bind(c)
            import c_int32_t, c_size_t, c_ptr, ek_clip_options, ek_adam_options
            type(c_ptr), value :: ctx, report
            type(ek_clip_options), intent(in) :: clip
            type(ek_adam_options), intent(in) :: adam
            integer(c_size_t), value :: count
            integer(c_size_t), intent(in) :: sizes(*)
            type(c_ptr), intent(in) :: params(*), grads(*), m(*), v(*)
        end function
    end interface

contains

    ! Every function reports this way: a status, and the reason in words.
    subroutine check(status)
        integer(c_int32_t), intent(in) :: status
        character(kind=c_char), pointer :: text(:)
        type(c_ptr) :: message
        if (status == 0) return
        message = ek_last_error()
        call c_f_pointer(message, text, [strlen(message)])
        write (*, *) text
        error stop 1
    end subroutine
end module

program quickstart
    use evenkeel
    implicit none
    integer, parameter :: IMAGES = 1797, PIXELS = 64, LAYERS = 3, TENSORS = 2*LAYERS, BATCH = 128
    integer(c_size_t), parameter :: width(0:LAYERS) = [64_c_size_t, 128_c_size_t, 128_c_size_t, 10_c_size_t]

    ! A tensor and its address.
    type tensor
        real(c_float), pointer :: at(:) => null()
        type(c_ptr) :: c = c_null_ptr
    end type

    type(tensor) :: input(LAYERS), z(LAYERS), dz(LAYERS), logits
    type(tensor) :: values(TENSORS, 4)
    type(c_ptr) :: ctx, params(TENSORS), grads(TENSORS), m(TENSORS), v(TENSORS)
    integer(c_size_t) :: sizes(TENSORS)
    type(ek_clip_options) :: clip
    type(ek_adam_options) :: adam
    real(c_float) :: training(PIXELS, IMAGES), held_out(PIXELS, IMAGES)
    integer(c_int64_t) :: training_labels(IMAGES), held_out_labels(IMAGES), labels(BATCH), state
    integer :: n_training, n_held_out, order(IMAGES), epoch, epochs, start, n, i, l, swap, other, correct, unit
    real(c_double) :: loss
    character(len=4096) :: data, weights, argument

    data = 'data/digits.csv'
    weights = ''
    epochs = 20
    if (command_argument_count() >= 1) call get_command_argument(1, data)
    if (command_argument_count() >= 2) call get_command_argument(2, weights)
    if (command_argument_count() >= 3) then
        call get_command_argument(3, argument)
        read (argument, *) epochs
    end if
    call load(trim(data))
    call check(ek_context_create(c_null_ptr, ctx))

    ! Tensor 2*l - 1 holds the weights of layer l, tensor 2*l its biases.
    do l = 1, LAYERS
        sizes(2*l - 1) = width(l - 1)*width(l)
        sizes(2*l) = width(l)
        input(l) = new(BATCH*width(l - 1))
        z(l) = new(BATCH*width(l))
        dz(l) = new(BATCH*width(l))
    end do
    logits = new(BATCH*width(LAYERS))
    do i = 1, TENSORS
        do n = 1, 4
            values(i, n) = new(sizes(i))
        end do
    end do
    params = values(:, 1)%c
    grads = values(:, 2)%c
    m = values(:, 3)%c
    v = values(:, 4)%c
    do l = 1, LAYERS
        call check(ek_init_he_f32(ctx, 1_c_int64_t, int(l - 1, c_int64_t), NORMAL, 0.0, width(l - 1), sizes(2*l - 1), &
                                  params(2*l - 1)))
    end do

    call ek_clip_options_init(clip)
    clip%mode = GLOBAL_NORM
    clip%threshold = 1
    call ek_adam_options_init(adam)
    adam%lr = 3d-3
    order(:n_training) = [(i, i=1, n_training)]
    state = 1
    do epoch = 1, epochs
        do n = n_training, 2, -1
            state = iand(state*1664525_c_int64_t + 1013904223_c_int64_t, int(z'FFFFFFFF', c_int64_t))
            other = int(mod(shiftr(state, 8), int(n, c_int64_t))) + 1
            swap = order(n)
            order(n) = order(other)
            order(other) = swap
        end do
        do start = 1, n_training, BATCH
            n = min(BATCH, n_training - start + 1)
            do i = 1, n
                input(1)%at(PIXELS*(i - 1) + 1:PIXELS*i) = training(:, order(start + i - 1))
                labels(i) = training_labels(order(start + i - 1))
            end do
            call forward(n)
            ! The norm for clipping came with the gradients: the step reads them once.
            call backward(n)
            call check(ek_clip_adam_f32(ctx, clip, adam, int(TENSORS, c_size_t), sizes, params, grads, m, v, c_null_ptr))
            adam%step = adam%step + 1
        end do
        if (mod(epoch, 5) == 0) write (*, '(a, i2, a, f6.4)') 'epoch ', epoch, '  loss ', loss
    end do

    correct = 0
    do start = 1, n_held_out, BATCH
        n = min(BATCH, n_held_out - start + 1)
        do i = 1, n
            input(1)%at(PIXELS*(i - 1) + 1:PIXELS*i) = held_out(:, start + i - 1)
        end do
        call forward(n)
        do i = 1, n
            if (maxloc(logits%at(10*(i - 1) + 1:10*i), dim=1) - 1 == held_out_labels(start + i - 1)) correct = correct + 1
        end do
    end do
    write (*, '(a, f6.4)') 'held-out accuracy ', real(correct)/real(n_held_out)
    if (weights /= '') then
        open (newunit=unit, file=trim(weights), access='stream', form='unformatted', status='replace')
        do i = 1, TENSORS
            write (unit) values(i, 1)%at
        end do
        close (unit)
    end if
    call ek_context_destroy(ctx)

contains

    function new(n) result(t)
        integer(c_size_t), intent(in) :: n
        type(tensor) :: t
        allocate (t%at(n))
        t%at = 0
        t%c = c_loc(t%at)
    end function

    ! Images from -1 (paper) to 1 (ink), and what they show; every fifth is held out.
    subroutine load(path)
        character(len=*), intent(in) :: path
        integer :: row(PIXELS + 1), file, image
        open (newunit=file, file=path, status='old', action='read')
        n_training = 0
        n_held_out = 0
        do image = 0, IMAGES - 1
            read (file, *) row
            if (mod(image, 5) == 4) then
                n_held_out = n_held_out + 1
                held_out(:, n_held_out) = real(row(:PIXELS), c_float)/8 - 1
                held_out_labels(n_held_out) = row(PIXELS + 1)
            else
                n_training = n_training + 1
                training(:, n_training) = real(row(:PIXELS), c_float)/8 - 1
                training_labels(n_training) = row(PIXELS + 1)
            end if
        end do
        close (file)
    end subroutine

    ! z = x * W^T + bias, x of the next layer = silu(z); the last layer's z are the logits.
    subroutine forward(n)
        integer, intent(in) :: n
        do l = 1, LAYERS
            if (l < LAYERS) then
                call check(ek_linear_forward_f32(ctx, SILU, 0.0, int(n, c_size_t), width(l - 1), width(l), input(l)%c, &
                                                 params(2*l - 1), params(2*l), z(l)%c, input(l + 1)%c))
            else
                call check(ek_linear_forward_f32(ctx, IDENTITY, 0.0, int(n, c_size_t), width(l - 1), width(l), input(l)%c, &
                                                 params(2*l - 1), params(2*l), c_null_ptr, logits%c))
            end if
        end do
    end subroutine

    ! The loss of the batch, and from its gradient those of all parameters; also the sum of their squares.
    subroutine backward(n)
        integer, intent(in) :: n
        real(c_double) :: part
        call check(ek_cross_entropy_f32(ctx, 0.0, -1_c_int64_t, 1.0, int(n, c_size_t), width(LAYERS), logits%c, labels, &
                                        c_null_ptr, loss, dz(LAYERS)%c))
        clip%known_sum_sq = 0
        do l = LAYERS, 1, -1
            call check(ek_linear_backward_weight_f32(ctx, int(n, c_size_t), width(l - 1), width(l), dz(l)%c, input(l)%c, &
                                                     .false._c_bool, grads(2*l - 1), grads(2*l), part))
            clip%known_sum_sq = clip%known_sum_sq + part
            if (l > 1) call check(ek_linear_backward_input_f32(ctx, SILU, 0.0, int(n, c_size_t), width(l - 1), width(l), &
                                                               dz(l)%c, params(2*l - 1), z(l - 1)%c, dz(l - 1)%c))
        end do
    end subroutine
end program
